// The part of a channel's history that is kept and shown: one run of entries without a hole.

import { WINDOW_MAX } from './limits.js';

/** A window on a channel. Its ends may lie anywhere in the history. */
export class Timeline {
  /** Ascending by number, without holes. */
  entries = [];
  /** Whether older entries exist beyond the window. */
  hasOlder = false;
  /** Whether newer entries exist beyond the window; live ones are then not appended. */
  hasNewer = false;
  /** Whether anything was ever loaded. */
  loaded = false;
  #max;
  // Entries that arrive while a page is under way: the page may end just before them.
  #arrivals = null;

  constructor(max = WINDOW_MAX) {
    this.#max = max;
  }

  get first() {
    return this.entries[0]?.seq ?? 0;
  }

  get last() {
    return this.entries.at(-1)?.seq ?? 0;
  }

  /** Forgets everything. */
  clear() {
    this.entries = [];
    this.hasOlder = false;
    this.hasNewer = false;
    this.loaded = false;
    this.#arrivals = null;
  }

  /** A page is asked for: live entries are remembered until it is there. */
  expect() {
    this.#arrivals ??= [];
  }

  /** No page will come. */
  giveUp() {
    this.#arrivals = null;
  }

  /** Shows a page in place of what was there. */
  replace(page) {
    this.entries = page.items.slice();
    this.hasOlder = page.has_older;
    this.#endsWith(page);
    this.loaded = true;
  }

  /** Adds a page of older entries. Answers false where it does not fit, and then adds nothing. */
  prepend(page) {
    const items = page.items.filter((entry) => entry.seq < this.first);
    if (items.length > 0 && items.at(-1).seq !== this.first - 1) return false;
    this.entries = items.concat(this.entries);
    this.hasOlder = page.has_older;
    if (this.entries.length > this.#max) {
      this.entries.length = this.#max;
      this.hasNewer = true;
    }
    this.#arrivals = null;
    return true;
  }

  /** Adds a page of newer entries. Answers false where it does not fit, and then adds nothing. */
  append(page) {
    const items = page.items.filter((entry) => entry.seq > this.last);
    if (items.length > 0 && items[0].seq !== this.last + 1) return false;
    this.entries = this.entries.concat(items);
    this.#endsWith(page);
    this.trimOlder();
    return true;
  }

  /**
   * Takes an entry that was just applied. `follow` tells that the reader is at the end and wants
   * to see it; someone who reads back keeps the place, and the window stops growing instead.
   */
  live(entry, follow) {
    if (this.#arrivals !== null && this.#arrivals.length < this.#max) this.#arrivals.push(entry);
    if (!this.loaded || this.hasNewer || entry.seq <= this.last) return;
    const fits = this.entries.length === 0 || entry.seq === this.last + 1;
    if (!fits || (!follow && this.entries.length >= this.#max)) {
      this.hasNewer = true;
      return;
    }
    this.entries.push(entry);
    if (follow) this.trimOlder();
  }

  /** Tells that entries up to `seq` exist, of which the window may know nothing. */
  reaches(seq) {
    if (this.loaded && seq > this.last) this.hasNewer = true;
  }

  /** Drops the oldest entries beyond `max`. */
  trimOlder(max = this.#max) {
    if (this.entries.length <= max) return;
    this.entries.splice(0, this.entries.length - max);
    this.hasOlder = true;
  }

  // What arrived while the page was made closes the gap between its end and now.
  #endsWith(page) {
    this.hasNewer = page.has_newer || page.complete === false;
    for (const entry of this.#arrivals ?? []) {
      if (entry.seq <= this.last) continue;
      if (this.entries.length > 0 && entry.seq !== this.last + 1) break;
      this.entries.push(entry);
    }
    const newest = this.#arrivals?.at(-1)?.seq ?? 0;
    this.#arrivals = null;
    if (newest > 0) this.hasNewer = newest > this.last;
  }
}
