// One channel of the user: its place in the order of entries, what is shown, what is unread.

import { AHEAD_MAX } from './limits.js';
import { Sequence } from './sequence.js';
import { Timeline } from './timeline.js';

/** A channel that the user is a member of. */
export class Channel {
  /** Name, topic, owner and so on; null until the server has told. */
  details = null;
  timeline = new Timeline();
  /** Messages of others after the read marker. */
  unread = 0;
  /** Whether `unread` counts entries of all kinds, because only the numbers are known. */
  unreadIsRough = false;
  /** The number up to which everything was seen; null until it is known. */
  read = null;
  /** The number after which the "new" line is drawn, or null. */
  newAfter = null;
  /** The page under way: `newest`, `older`, `newer`, `around`, or null. */
  loading = null;
  /** Why the last page did not come: an error with a `code`, or null. */
  failure = null;
  /** Whether entries are missing and being asked for. */
  repairing = false;
  /** Rises whenever what is cached becomes void, so that late answers are recognised. */
  generation = 0;
  #ahead = new Map();

  /** Goes on after `position`. */
  constructor(id, position) {
    this.id = id;
    this.sequence = new Sequence(position);
  }

  /** The last applied entry. */
  get position() {
    return this.sequence.position;
  }

  /** Whether entries wait for others before them. */
  get hasGap() {
    return this.#ahead.size > 0;
  }

  /**
   * Takes an entry, live or from a page, and answers those that can be applied now, in order:
   * itself and what waited for it, or none.
   */
  take(entry) {
    const step = this.sequence.accept(entry);
    if (step === 'repeat') return [];
    if (step === 'gap') {
      this.#ahead.set(entry.seq, entry);
      if (this.#ahead.size > AHEAD_MAX) this.#jump();
      return [];
    }
    const applied = [entry];
    for (let next; (next = this.#ahead.get(this.position.seq + 1));) {
      this.#ahead.delete(next.seq);
      this.sequence.accept(next);
      applied.push(next);
    }
    for (const seq of this.#ahead.keys()) if (seq <= this.position.seq) this.#ahead.delete(seq);
    return applied;
  }

  /** The server goes on after `position`; what lies between has to be paged. */
  skipTo(position) {
    this.sequence = new Sequence(position);
    this.#ahead.clear();
    this.timeline.reaches(position.seq);
  }

  /** What is cached belongs to another history. */
  discard(position) {
    this.generation += 1;
    this.loading = null;
    this.failure = null;
    this.newAfter = null;
    this.timeline.clear();
    this.skipTo(position);
    this.read = Math.min(this.read ?? position.seq, position.seq);
  }

  /** Everything was seen. Answers whether that is news. */
  markRead() {
    const changed = this.read !== this.position.seq || this.unread > 0;
    this.read = this.position.seq;
    this.unread = 0;
    this.unreadIsRough = false;
    return changed;
  }

  // Too much waits for the gap: go on at the newest, as after a reset that says `too_far`.
  #jump() {
    const newest = Math.max(...this.#ahead.keys());
    this.skipTo(this.#ahead.get(newest));
  }
}
