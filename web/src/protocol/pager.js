// Reading back: pages of a channel's history, and the repair of gaps.

import { Backoff } from './backoff.js';
import { PAGE, REPAIR_PAGE } from './limits.js';

/** Pages of history for channels. `apply(channel, entry)` takes what fills a gap. */
export class Pager {
  #history;
  #clock;
  #random;
  #apply;
  #changed;

  /** `history(id, query)` asks the server; `changed(channel)` is told of every step. */
  constructor({ history, clock, random, apply, changed }) {
    this.#history = history;
    this.#clock = clock;
    this.#random = random;
    this.#apply = apply;
    this.#changed = changed;
  }

  /** Shows the newest page. */
  newest(channel) {
    return this.#load(channel, 'newest', { limit: PAGE }, (page) => channel.timeline.replace(page));
  }

  /** Shows the page around an entry. */
  around(channel, seq) {
    const query = { around: seq, limit: PAGE };
    return this.#load(channel, 'around', query, (page) => channel.timeline.replace(page));
  }

  /** Adds what came before. */
  older(channel) {
    const { timeline } = channel;
    if (!timeline.loaded || !timeline.hasOlder) return false;
    const query = { before: timeline.first, limit: PAGE };
    return this.#load(channel, 'older', query, (page) => timeline.prepend(page));
  }

  /** Adds what came after. */
  newer(channel) {
    const { timeline } = channel;
    if (!timeline.loaded || !timeline.hasNewer) return false;
    const query = { after: timeline.last, limit: PAGE };
    return this.#load(channel, 'newer', query, (page) => timeline.append(page));
  }

  /** Asks for the entries that are missing before others that arrived, until none is. */
  async repair(channel) {
    if (channel.repairing) return;
    channel.repairing = true;
    const backoff = new Backoff({ random: this.#random });
    const { generation } = channel;
    while (channel.hasGap && generation === channel.generation) {
      const after = channel.position.seq;
      try {
        const page = await this.#history(channel.id, { after, limit: REPAIR_PAGE });
        if (generation !== channel.generation) break;
        for (const entry of page.items) this.#apply(channel, entry);
      } catch (error) {
        if (error.final) break;
      }
      // No progress: the server cannot answer just now, or not yet.
      if (channel.position.seq === after) await this.#sleep(backoff.next());
      else backoff.reset();
    }
    channel.repairing = false;
  }

  async #load(channel, what, query, take) {
    if (channel.loading !== null) return false;
    channel.loading = what;
    channel.failure = null;
    const { generation, timeline } = channel;
    timeline.expect();
    this.#changed(channel);
    let done = false;
    try {
      const page = await this.#history(channel.id, query);
      if (generation !== channel.generation) return false;
      done = take(page) !== false;
      timeline.reaches(channel.position.seq);
      // Where nothing comes although more must exist, asking at once again would not help.
      const nothing = page.items.length === 0 && what === 'newer' && timeline.hasNewer;
      if (page.complete === false || nothing || !done) {
        channel.failure = { code: 'incomplete', what };
      }
    } catch (error) {
      if (generation !== channel.generation) return false;
      timeline.giveUp();
      channel.failure = { code: error.code ?? 'network', what };
    }
    channel.loading = null;
    this.#changed(channel);
    return done;
  }

  #sleep(ms) {
    return new Promise((resolve) => this.#clock.setTimeout(resolve, ms));
  }
}
