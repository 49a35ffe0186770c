// Creating a channel.

import { byId, openDialog, say } from './dom.js';
import { wordsFor } from './words.js';

/** Which field an error is about. */
const FIELDS = {
  name_taken: 'create-name',
  name_invalid: 'create-name',
  topic_invalid: 'create-topic',
};

/** The dialog. `create(channel)` makes it and shows it; what it throws is told here. */
export class Create {
  #create;
  #stop = new AbortController();

  constructor(create) {
    this.#create = create;
    byId('create-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    }, { signal: this.#stop.signal });
  }

  /** Lets go of the page. */
  close() {
    this.#stop.abort();
    byId('create').close();
  }

  /** Opens the dialog, with a name to begin with. */
  open(name = '') {
    byId('create-form').reset();
    byId('create-name').value = name;
    this.#refuse(null);
    openDialog(byId('create'));
    byId('create-name').focus();
  }

  async #submit() {
    this.#refuse(null);
    const channel = {
      // The server takes composed characters only, and no outer space; keyboards differ.
      name: byId('create-name').value.normalize('NFC').trim(),
      topic: byId('create-topic').value.trim(),
      private: byId('create-private').checked,
    };
    if (!channel.name) {
      this.#refuse({ code: 'empty', message: 'Give the channel a name.' }, 'create-name');
      return;
    }
    byId('create-go').disabled = true;
    try {
      await this.#create(channel);
      byId('create').close();
    } catch (error) {
      this.#refuse(error, FIELDS[error.code]);
    } finally {
      byId('create-go').disabled = false;
    }
  }

  #refuse(error, field) {
    say(byId('create-error'), error && wordsFor(error));
    for (const id of ['create-name', 'create-topic']) {
      if (id === field) byId(id).setAttribute('aria-invalid', 'true');
      else byId(id).removeAttribute('aria-invalid');
    }
    if (field) byId(field).focus();
  }
}
