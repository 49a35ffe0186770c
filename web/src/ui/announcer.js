// What is read out to those who do not see the log: new messages of others, and nothing else.

import { byId, el } from './dom.js';

/** Of more than this at once only the number and the last are told. */
const AT_ONCE = 3;
const GATHER_MS = 600;
const KEEP = 10;
/** Longer ones are for the log. */
const LENGTH_MAX = 300;

/** Tells of entries; old pages never come here, so they are not read out again. */
export class Announcer {
  #node = byId('announcer');
  #waiting = [];
  #timer = null;

  /** An entry was applied in the shown channel. */
  tell(entry) {
    this.#waiting.push(entry);
    this.#timer ??= setTimeout(() => this.#speak(), GATHER_MS);
  }

  #speak() {
    this.#timer = null;
    const entries = this.#waiting.splice(0);
    const few = entries.length > AT_ONCE ? entries.slice(-1) : entries;
    const texts = few.map(({ author, body }) => `${author}: ${body.slice(0, LENGTH_MAX)}`);
    if (few !== entries) texts.unshift(`${entries.length} new messages, the last:`);
    this.#node.append(...texts.map((text) => el('p', {}, text)));
    while (this.#node.children.length > KEEP) this.#node.firstChild.remove();
  }
}
