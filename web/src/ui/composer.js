// The box to write in.

import { byteLength, refusal, wellFormed } from '../protocol/body.js';
import { BODY_BYTES_MAX } from '../protocol/limits.js';
import * as keep from '../net/keep.js';
import { byId, say } from './dom.js';
import { count } from './words.js';

/** Writes to `chat.shown`; drafts are kept under `key` for as long as the tab lives. */
export class Composer {
  #chat;
  #sent;
  #key;
  #drafts;
  #channel = null;
  #text = byId('text');
  #note = byId('composer-note');
  #stop = new AbortController();

  /** `sent` is called after a message was taken. */
  constructor(chat, key, sent) {
    this.#chat = chat;
    this.#sent = sent;
    this.#key = key;
    this.#drafts = keep.get(keep.tab, key, {});
    const on = { signal: this.#stop.signal };
    this.#text.addEventListener('input', () => this.#typed(), on);
    this.#text.addEventListener('keydown', (event) => this.#pressed(event), on);
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    }, on);
  }

  /** Lets go of the page. */
  close() {
    this.#stop.abort();
    this.#text.value = '';
  }

  /** The shown channel has changed. */
  turnTo(channel, name) {
    this.#text.placeholder = `Message ${name}`;
    this.#text.setAttribute('aria-label', `Message ${name}`);
    if (channel === this.#channel) return;
    this.#channel = channel;
    this.#text.value = this.#drafts[channel.id] ?? '';
    this.#resize();
    this.#check();
  }

  /** Puts the cursor here. */
  focus() {
    this.#text.focus();
  }

  #typed() {
    this.#resize();
    this.#check();
    if (this.#text.value) this.#drafts[this.#channel.id] = this.#text.value;
    else delete this.#drafts[this.#channel.id];
    keep.put(keep.tab, this.#key, this.#drafts);
  }

  #pressed(event) {
    // While a word is composed (Japanese, Chinese, dead keys) Enter only takes the word.
    const composing = event.isComposing || event.keyCode === 229;
    if (event.key !== 'Enter' || event.shiftKey || composing) return;
    event.preventDefault();
    this.#submit();
  }

  #submit() {
    const body = wellFormed(this.#text.value).replaceAll('\0', '\uFFFD');
    if (refusal(body) !== null) {
      this.#check();
      return;
    }
    if (!this.#chat.say(this.#channel.id, body)) {
      say(this.#note, 'Too much is waiting to be sent. Wait until the connection is back.');
      return;
    }
    this.#text.value = '';
    this.#typed();
    this.#sent();
  }

  #check() {
    const bytes = byteLength(this.#text.value);
    const over = bytes - BODY_BYTES_MAX;
    say(this.#note, over > 0 ? `This is ${count(over, 'byte', 'bytes')} too long to send.` : null);
    byId('send').disabled = over > 0;
  }

  #resize() {
    this.#text.style.height = 'auto';
    // Before the room is shown there is nothing to measure, and one line is right.
    const { scrollHeight } = this.#text;
    if (scrollHeight > 0) this.#text.style.height = `${scrollHeight}px`;
  }
}
