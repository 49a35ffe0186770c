// The line that tells about the connection, and short notes that pass.

import { byId, el, say, setText } from './dom.js';
import { wordsForClose } from './words.js';

const TOAST_MS = 6000;
/** A gap shorter than this is not worth a line: most restarts are over before it. */
const PATIENCE_MS = 900;

/** Shows the states of the connection. */
export class Status {
  #line = byId('status');
  #count = byId('status-count');
  #retry = byId('status-retry');
  #until = 0;
  #shownOnce = false;
  #timers = { patience: null, count: null };

  /** Shows `state`; `retry` is called when the person does not want to wait. */
  show(state, retry) {
    clearTimeout(this.#timers.patience);
    clearInterval(this.#timers.count);
    setText(byId('me-state'), state.name === 'live' ? 'Connected' : 'Not connected');
    if (state.name === 'live') {
      this.#shownOnce = true;
      this.#line.hidden = true;
      return;
    }
    this.#retry.onclick = retry;
    const patience = this.#line.hidden && state.name !== 'stopped' ? PATIENCE_MS : 0;
    this.#timers.patience = setTimeout(() => this.#say(state), patience);
  }

  /** Nothing more is shown. */
  close() {
    clearTimeout(this.#timers.patience);
    clearInterval(this.#timers.count);
    this.#line.hidden = true;
  }

  #say(state) {
    this.#line.hidden = false;
    this.#line.dataset.state = state.name;
    this.#retry.hidden = state.name === 'connecting';
    // The text is announced when it changes, so the seconds are not a part of it.
    const lost = this.#shownOnce ? 'Connection lost.' : 'No connection yet.';
    const texts = {
      connecting: 'Connecting …',
      waiting: lost,
      stopped: wordsForClose(state.code),
    };
    setText(byId('status-text'), texts[state.name]);
    setText(this.#count, '');
    if (state.name !== 'waiting') return;
    this.#until = state.until;
    this.#tick();
    this.#timers.count = setInterval(() => this.#tick(), 1000);
  }

  #tick() {
    const seconds = Math.max(1, Math.ceil((this.#until - Date.now()) / 1000));
    setText(this.#count, `Trying again in ${seconds} s`);
  }
}

/** Shows a short note for some seconds. */
export function toast(text) {
  const note = el('p', { className: 'toast' }, text);
  byId('toasts').append(note);
  setTimeout(() => note.remove(), TOAST_MS);
}

/** Asks before something that cannot be undone. Answers a promise of yes or no. */
export function ask({ title, text, yes }) {
  const dialog = byId('ask');
  setText(byId('ask-title'), title);
  setText(byId('ask-text'), text);
  setText(byId('ask-yes'), yes);
  return new Promise((resolve) => {
    let answer = false;
    byId('ask-yes').onclick = () => {
      answer = true;
      dialog.close();
    };
    byId('ask-no').onclick = () => dialog.close();
    dialog.onclose = () => resolve(answer);
    say(byId('ask-text'), text);
    dialog.showModal();
  });
}
