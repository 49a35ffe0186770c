// The head of the shown channel, or what is shown in place of one.

import { byId, oncePerFrame, setText } from './dom.js';
import { nameOf } from './sidebar.js';

/** Shows `chat.shown`, or why there is nothing to show. */
export class Room {
  /** Asks for a new picture; cheap, however often it is called. */
  refresh = oncePerFrame(() => this.#render());
  #chat;
  #wanted = null;

  constructor(chat) {
    this.#chat = chat;
  }

  /** The shown channel's name. */
  get name() {
    return this.#chat.shown ? nameOf(this.#chat.shown) : '';
  }

  /** The address names this channel, or none; shown at once, so that it can be focused. */
  route(id) {
    this.#wanted = id;
    this.#render();
  }

  #render() {
    const { shown, ready } = this.#chat;
    byId('room').hidden = !shown;
    byId('empty').hidden = Boolean(shown);
    if (shown) this.#head(shown);
    else this.#empty(ready);
  }

  #head(channel) {
    const { details } = channel;
    setText(byId('room-name'), nameOf(channel));
    setText(byId('room-topic'), details?.topic ?? '');
    byId('room-topic').hidden = !details?.topic;
    byId('room-topic').title = details?.topic ?? '';
    const kind = details?.private ? 'lock' : 'hash';
    byId('room-icon').firstElementChild.setAttribute('href', `#i-${kind}`);
  }

  #empty(ready) {
    const { channels } = this.#chat;
    let title = 'Choose a channel';
    let text = 'Pick one from the list, find another to join, or create one.';
    if (!ready) {
      title = 'Connecting …';
      text = '';
    } else if (this.#wanted) {
      title = 'You are not in this channel';
      text = 'Find it to join, if it is public. Into a private one, a member has to add you.';
    } else if (channels.size === 0) {
      title = 'Welcome to Banter';
      text = 'Conversations happen in channels. Find one to join, or create the first.';
    }
    setText(byId('empty-title'), title);
    setText(byId('empty-text'), text);
    for (const id of ['empty-browse', 'empty-create']) byId(id).hidden = !ready;
  }
}
