// The page before anyone is signed in.

import { byId, say, setText } from './dom.js';
import { wordsFor } from './words.js';

const TEXTS = {
  login: {
    lead: 'Log in to talk with the others.',
    go: 'Log in',
    other: 'New here?',
    change: 'Create an account',
    password: 'current-password',
  },
  register: {
    lead: 'Choose a name that the others know you by.',
    go: 'Create account',
    other: 'Have an account?',
    change: 'Log in',
    password: 'new-password',
  },
};
/** Which field an error is about. */
const FIELDS = {
  username_taken: 'sign-name',
  username_invalid: 'sign-name',
  password_weak: 'sign-password',
  login_failed: 'sign-password',
};

/** The form for logging in and for making an account. */
export class Front {
  #mode = 'login';
  #session;
  #entered;

  /** `entered` is called once somebody is signed in. */
  constructor(session, entered) {
    this.#session = session;
    this.#entered = entered;
    byId('sign').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId('sign-switch').addEventListener('click', () => {
      this.#turn(this.#mode === 'login' ? 'register' : 'login');
      byId('sign-name').focus();
    });
    byId('sign-show').addEventListener('change', ({ target }) => {
      byId('sign-password').type = target.checked ? 'text' : 'password';
    });
    for (const id of ['sign-name', 'sign-password']) {
      byId(id).addEventListener('input', () => byId(id).removeAttribute('aria-invalid'));
    }
  }

  /** Shows the form, with a word why, where there is one. */
  show(why) {
    byId('front').hidden = false;
    this.#turn('login');
    say(byId('sign-error'), why);
    byId('sign-password').value = '';
    byId('sign-name').focus();
  }

  #turn(mode) {
    this.#mode = mode;
    const texts = TEXTS[mode];
    setText(byId('sign-lead'), texts.lead);
    setText(byId('sign-go'), texts.go);
    setText(byId('sign-other'), texts.other);
    setText(byId('sign-switch'), texts.change);
    byId('sign-password').autocomplete = texts.password;
    byId('sign-name-hint').hidden = mode === 'login';
    byId('sign-password-hint').hidden = mode === 'login';
    say(byId('sign-error'), null);
  }

  async #submit() {
    const name = byId('sign-name').value.trim();
    const password = byId('sign-password').value;
    if (!name || !password) {
      this.#refuse({ message: 'Fill in both the username and the password.' },
        name ? 'sign-password' : 'sign-name');
      return;
    }
    byId('sign-go').disabled = true;
    try {
      await this.#session[this.#mode](name, password);
    } catch (error) {
      this.#refuse(error, FIELDS[error.code]);
      return;
    } finally {
      byId('sign-go').disabled = false;
    }
    byId('sign-password').value = '';
    byId('front').hidden = true;
    this.#entered();
  }

  #refuse(error, field) {
    say(byId('sign-error'), wordsFor(error));
    if (!field) return;
    byId(field).setAttribute('aria-invalid', 'true');
    byId(field).focus();
  }
}
