// One socket, from opening to close: greeting, heartbeat, nothing more.

import * as frames from './frames.js';
import { ANSWER_MS, QUIET_MS } from './limits.js';

/**
 * Opens a socket and says hello. `on` is told `welcome(link, frame)`, `frame(link, frame)` and,
 * once, `close(link, code, error)`, where `error` is the last error frame that named no message.
 */
export class Link {
  #socket;
  #clock;
  #on;
  #timer = null;
  #asked = false;
  #error = null;
  #closed = false;
  /** Whether the server has answered the greeting. */
  live = false;

  constructor({ open, clock, on }, token, resume) {
    this.#clock = clock;
    this.#on = on;
    this.#socket = open();
    this.#socket.onopen = () => this.#socket.send(frames.hello(token, resume));
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = ({ code }) => this.#end(code);
    // What failed is not told to a page; the close that follows carries all there is.
    this.#socket.onerror = () => {};
    this.#wait(ANSWER_MS, () => this.#drop());
  }

  /** Sends a text. Answers false when the socket cannot take it. */
  send(text) {
    if (!this.live || this.#closed) return false;
    this.#socket.send(text);
    return true;
  }

  /** Asks now whether the server is there: the machine woke up, or the network changed. */
  probe() {
    if (this.live && !this.#asked) this.#ask();
  }

  /** Ends it without telling anyone. */
  retire() {
    this.#closed = true;
    this.#clock.clearTimeout(this.#timer);
    this.#socket.close(1000);
  }

  #receive(data) {
    if (this.#closed) return;
    const frame = frames.parse(data);
    if (frame === null) return;
    this.#asked = false;
    this.#wait(QUIET_MS, () => this.#ask());
    if (frame.type === 'error' && frame.id === undefined) this.#error = frame;
    if (!this.live) {
      if (frame.type !== 'welcome') return;
      this.live = true;
      this.#on.welcome(this, frame);
    } else {
      this.#on.frame(this, frame);
    }
  }

  #ask() {
    this.#asked = true;
    this.#socket.send(frames.ping());
    this.#wait(ANSWER_MS, () => this.#drop());
  }

  // A dead network never delivers a close, so nobody waits for one.
  #drop() {
    this.#socket.close();
    this.#end(1006);
  }

  #end(code) {
    if (this.#closed) return;
    this.#closed = true;
    this.live = false;
    this.#clock.clearTimeout(this.#timer);
    this.#on.close(this, code, this.#error);
  }

  #wait(ms, then) {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = this.#clock.setTimeout(then, ms);
  }
}
