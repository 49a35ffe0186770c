// The one connection that a page keeps: opens sockets again and again, and renews the token.

import { Backoff } from './backoff.js';
import { afterClose } from './closes.js';
import * as frames from './frames.js';
import { Link } from './link.js';

/** How long a socket must have lived for the failures before it to be forgotten. */
const STEADY_MS = 10_000;
/** A token is renewed after this part of its life, so that a few failures cost nothing. */
const RENEW_AT = 0.75;
const RENEW_MIN_MS = 5_000;
/** Timers of a browser overflow after 24 days. */
const RENEW_MAX_MS = 24 * 3600 * 1000;

/**
 * Keeps a connection. What it needs from outside:
 * `open()` makes a socket; `token({fresh})` answers an access token, or throws an error whose
 * `final` tells that the session is over; `resume()` answers the positions; `clock` has
 * `setTimeout`, `clearTimeout` and `now`.
 *
 * It tells `on.welcome(frame)`, `on.frame(frame)`, `on.state(state)` and `on.signedOut(reason)`.
 * A state is `{name}`: `connecting`, `live`, `waiting` (with `until`) or `stopped` (with `code`).
 */
export class Connection {
  #deps;
  #backoff;
  #current = null;
  #next = null;
  #timers = { attempt: null, renew: null, steady: null };
  #wanted = false;
  // Counts attempts, so that the answer to an abandoned one is not acted upon.
  #attempt = 0;
  #fresh = false;
  #refusedTokens = 0;
  #renewing = false;

  constructor(deps) {
    this.#deps = deps;
    this.#backoff = new Backoff({ random: deps.random });
  }

  /** Whether frames can be sent now. */
  get live() {
    return this.#current !== null;
  }

  /** Connects, and stays connected. */
  start() {
    this.#wanted = true;
    this.#open();
  }

  /** Ends it for good. */
  stop() {
    this.#wanted = false;
    this.#attempt += 1;
    for (const name of Object.keys(this.#timers)) this.#cancel(name);
    this.#current?.retire();
    this.#next?.retire();
    this.#current = null;
    this.#next = null;
  }

  /** The person, or the network, says that now is a good moment. */
  hurry() {
    if (this.#current) this.#current.probe();
    else if (!this.#next && this.#timers.attempt !== null) this.#open();
  }

  /** After it has stopped by itself: tries once more. */
  again() {
    this.#backoff.reset();
    this.#refusedTokens = 0;
    this.start();
  }

  /** Sends a text. Answers false where there is no live socket. */
  send(text) {
    return this.#current?.send(text) ?? false;
  }

  async #open() {
    this.#cancel('attempt');
    this.#attempt += 1;
    const attempt = this.#attempt;
    if (!this.#current) this.#deps.on.state({ name: 'connecting' });
    let token;
    try {
      token = await this.#deps.token({ fresh: this.#fresh });
    } catch (error) {
      if (attempt !== this.#attempt || !this.#wanted) return;
      if (error.final) this.#signOut(error.code);
      else this.#later(error.retryAfterMs);
      return;
    }
    if (attempt !== this.#attempt || !this.#wanted) return;
    this.#fresh = false;
    const on = {
      welcome: (link, frame) => this.#welcomed(link, frame),
      frame: (link, frame) => this.#received(link, frame),
      close: (link, code, error) => this.#closed(link, code, error),
    };
    const { open, clock, resume } = this.#deps;
    this.#next?.retire();
    this.#next = new Link({ open, clock, on }, token, resume());
  }

  #welcomed(link, frame) {
    if (link !== this.#next) return;
    // The old socket, where there still is one, is let go only now: nothing is missed between.
    this.#current?.retire();
    this.#current = link;
    this.#next = null;
    this.#refusedTokens = 0;
    this.#renewing = false;
    this.#after('steady', STEADY_MS, () => this.#backoff.reset());
    this.#renewIn(frame.expires_in);
    this.#deps.on.state({ name: 'live' });
    this.#deps.on.welcome(frame);
  }

  #received(link, frame) {
    if (link !== this.#current) return;
    if (frame.type === 'reconnect') {
      this.#after('attempt', frame.after_ms, () => this.#open());
    } else if (frame.type === 'renewed') {
      this.#renewing = false;
      this.#renewIn(frame.expires_in);
    } else if (frame.type === 'error' && frame.code === 'token_invalid' && this.#renewing) {
      // The cookie now belongs to another session, from another tab: greet anew with its token.
      this.#renewing = false;
      this.#open();
    } else {
      this.#deps.on.frame(frame);
    }
  }

  #closed(link, code, error) {
    if (link === this.#next) this.#next = null;
    else if (link === this.#current) this.#lost();
    else return;
    if (!this.#wanted) return;
    const then = afterClose(code);
    if (this.#current) {
      // A second socket failed while the first still works.
      this.#later();
    } else if (then === 'signed_out') {
      this.#signOut(code === 4504 ? 'account_disabled' : 'session_ended');
    } else if (then === 'stop') {
      this.#halt(code);
    } else if (!this.#next) {
      if (then === 'renew' && !this.#renewNext(code)) return;
      this.#later(error?.retry_after_ms);
    }
  }

  #lost() {
    this.#current = null;
    this.#cancel('steady');
    this.#cancel('renew');
    if (this.#next) this.#deps.on.state({ name: 'connecting' });
  }

  // A fresh token that is refused as well will not be taken a third time.
  #renewNext(code) {
    this.#fresh = true;
    if (code === 4503) this.#refusedTokens += 1;
    if (this.#refusedTokens < 2) return true;
    this.#signOut('token_invalid');
    return false;
  }

  #later(atLeast = 0) {
    const wait = (atLeast || 0) + this.#backoff.next();
    if (!this.#current) {
      this.#deps.on.state({ name: 'waiting', until: this.#deps.clock.now() + wait });
    }
    this.#after('attempt', wait, () => this.#open());
  }

  #halt(code) {
    this.stop();
    this.#deps.on.state({ name: 'stopped', code });
  }

  #signOut(reason) {
    this.stop();
    this.#deps.on.signedOut(reason);
  }

  #renewIn(seconds) {
    const wait = Math.min(RENEW_MAX_MS, Math.max(RENEW_MIN_MS, seconds * 1000 * RENEW_AT));
    this.#after('renew', wait, () => this.#renew());
  }

  async #renew() {
    const link = this.#current;
    try {
      const token = await this.#deps.token({ fresh: true });
      if (link !== this.#current) return;
      this.#renewing = link?.send(frames.auth(token)) ?? false;
    } catch (error) {
      if (link !== this.#current) return;
      if (error.final) this.#signOut(error.code);
      else this.#after('renew', RENEW_MIN_MS * (1 + this.#deps.random()), () => this.#renew());
    }
  }

  #after(name, ms, then) {
    this.#cancel(name);
    this.#timers[name] = this.#deps.clock.setTimeout(() => {
      this.#timers[name] = null;
      then();
    }, ms);
  }

  #cancel(name) {
    this.#deps.clock.clearTimeout(this.#timers[name]);
    this.#timers[name] = null;
  }
}
