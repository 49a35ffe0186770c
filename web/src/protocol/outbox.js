// What was written here and is not yet known to be safe.

import { OUTBOX_MAX, SEND_BURST } from './limits.js';

/** Refusals after which the same message may be taken later. */
const RETRYABLE = new Set(['slow_down', 'unavailable', 'overloaded', 'draining']);
const RETRY_DEFAULT_MS = 1000;

/**
 * Messages in the order in which they were written. One is kept until the server has told that
 * it is stored *and* it was seen in its channel. Its `state` is
 * `pending` (no answer yet), `queued` (accepted, not in the database), `stored` or `failed`.
 */
export class Outbox {
  #items = new Map();

  /** Takes a message. Answers null when there is no room. */
  add({ id, channel, body, at }) {
    if (this.size >= OUTBOX_MAX) return null;
    const item = {
      id, channel, body, at,
      state: 'pending',
      seq: null,
      epoch: null,
      seen: false,
      sent: false,
      heldUntil: 0,
      failure: null,
    };
    this.#items.set(id, item);
    return item;
  }

  /** How many are not known to be stored. */
  get size() {
    let size = 0;
    for (const item of this.#items.values()) if (item.state !== 'stored') size += 1;
    return size;
  }

  /** Those of a channel whose entry was not seen yet, for showing them at its end. */
  unseen(channel) {
    return [...this.#items.values()].filter((item) => item.channel === channel && !item.seen);
  }

  /**
   * What to send at `now`, and when to ask again where something is held back. A message that is
   * held holds those behind it in its channel, so that they keep their order.
   */
  due(now, max = SEND_BURST) {
    const items = [];
    const held = new Set();
    let wakeAt = null;
    for (const item of this.#items.values()) {
      if (item.sent || item.state === 'failed' || item.state === 'stored') continue;
      if (held.has(item.channel)) continue;
      if (item.heldUntil > now) {
        held.add(item.channel);
        wakeAt = Math.min(wakeAt ?? item.heldUntil, item.heldUntil);
      } else if (items.length < max) {
        items.push(item);
      } else {
        return { items, wakeAt, more: true };
      }
    }
    return { items, wakeAt, more: false };
  }

  /** The server accepted a message. Answers it, or null when it is not ours. */
  ack({ id, seq, epoch, level }) {
    const item = this.#items.get(id);
    if (!item) return null;
    item.state = level === 'queued' ? 'queued' : 'stored';
    item.seq = seq;
    item.epoch = epoch;
    item.failure = null;
    this.#forget(item);
    return item;
  }

  /** The database has everything of ours in `channel` of this epoch up to `seq`. */
  stored({ channel, seq, epoch }) {
    for (const item of [...this.#items.values()]) {
      const covered = item.channel === channel && item.epoch === epoch && item.seq <= seq;
      if (item.state !== 'queued' || !covered) continue;
      item.state = 'stored';
      this.#forget(item);
    }
  }

  /** The log lost what was not stored: all of it counts as never acknowledged. */
  resend() {
    for (const item of this.#items.values()) {
      if (item.state !== 'pending' && item.state !== 'queued') continue;
      item.state = 'pending';
      item.sent = false;
      item.seen = false;
    }
  }

  /** Another socket: whatever is not stored is sent again there, with its id. */
  reconnected() {
    for (const item of this.#items.values()) item.sent = false;
  }

  /** The server refused a message. Answers it, or null when it is not ours. */
  refuse({ id, code, message, retry_after_ms: after }, now) {
    const item = this.#items.get(id);
    if (!item || item.state === 'stored') return null;
    if (RETRYABLE.has(code)) {
      item.sent = false;
      item.heldUntil = now + (after ?? RETRY_DEFAULT_MS);
    } else {
      item.state = 'failed';
      item.failure = { code, message };
    }
    return item;
  }

  /** An own message came back as an entry. */
  sawEntry({ id }) {
    const item = this.#items.get(id);
    if (!item) return;
    item.seen = true;
    if (item.state === 'failed') item.state = 'stored';
    this.#forget(item);
  }

  /**
   * A channel was applied, or skipped, up to `seq`: an accepted message below it has had its
   * turn, even where its entry was not among what was shown.
   */
  settle(channel, seq) {
    for (const item of [...this.#items.values()]) {
      const accepted = item.state === 'stored' || item.state === 'queued';
      if (item.channel !== channel || !accepted || item.seq > seq) continue;
      item.seen = true;
      this.#forget(item);
    }
  }

  /** The person wants a failed one tried again, under the same id. */
  retry(id) {
    const item = this.#items.get(id);
    if (!item || item.state !== 'failed') return;
    item.state = 'pending';
    item.sent = false;
    item.heldUntil = 0;
    item.failure = null;
  }

  /** The person gives a failed one up. Answers it, or null. */
  discard(id) {
    const item = this.#items.get(id) ?? null;
    if (item) this.#items.delete(id);
    return item;
  }

  /** A channel is gone: nothing of it can be sent any more. */
  closeChannel(channel, failure) {
    for (const item of this.#items.values()) {
      if (item.channel !== channel || item.state !== 'pending') continue;
      item.state = 'failed';
      item.failure = failure;
    }
  }

  /** Gives everything up. */
  clear() {
    this.#items.clear();
  }

  /** What has to outlive a reload of the page. */
  dump() {
    return [...this.#items.values()]
      .filter((item) => item.state !== 'stored')
      .map(({ id, channel, body, at, state }) => ({ id, channel, body, at, state }));
  }

  /** Takes back what `dump` gave. A queued one is pending again: the next ack tells. */
  load(items) {
    for (const { id, channel, body, at, state } of items) {
      const item = this.add({ id, channel, body, at });
      if (item && state === 'failed') {
        item.state = 'failed';
        item.failure = { code: 'unsent', message: 'Not sent.' };
      }
    }
  }

  #forget(item) {
    if (item.seen && item.state === 'stored') this.#items.delete(item.id);
  }
}
