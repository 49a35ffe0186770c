// A clock that moves only when told, sockets that exist only in memory, and a history to page.

/** Time under the test's control. */
export class Clock {
  time = 1_000_000;
  #timers = new Map();
  #next = 1;

  now = () => this.time;

  setTimeout = (work, ms) => {
    this.#timers.set(this.#next, { at: this.time + ms, work });
    this.#next += 1;
    return this.#next - 1;
  };

  clearTimeout = (timer) => this.#timers.delete(timer);

  /** How many timers wait. */
  get waiting() {
    return this.#timers.size;
  }

  /** Lets time pass; whatever is due happens in order, and promises get their turn. */
  async pass(ms) {
    const end = this.time + ms;
    for (;;) {
      await settled();
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end)
        .sort(([a, x], [b, y]) => x.at - y.at || a - b)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].work();
    }
    this.time = end;
    await settled();
  }
}

/** Lets every promise that can go on do so. */
export async function settled() {
  for (let i = 0; i < 30; i += 1) await null;
}

/** A socket as the page sees it, with the server's side for the test. */
export class FakeSocket {
  sent = [];
  closed = null;

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code = 1005) {
    this.closed = code;
  }

  /** The server's side. */
  opens() {
    this.onopen();
  }

  says(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }

  ends(code) {
    this.onclose({ code });
  }
}

/** A pseudo-random source that gives the same numbers every time. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** An entry of `channel`. */
export function entry(channel, seq, more = {}) {
  return {
    type: 'message',
    channel,
    seq,
    epoch: 1,
    id: `m${seq}`,
    author: 'bob',
    body: `text ${seq}`,
    sent_at: '2026-11-24T20:34:10.007Z',
    ...more,
  };
}

/** A page of `entries` as the server would answer `query`. */
export function page(entries, { before, after, around, limit }) {
  let from = Math.max(0, entries.length - limit);
  if (after !== undefined) from = after;
  else if (around !== undefined) from = Math.max(0, around - 1 - Math.floor(limit / 2));
  else if (before !== undefined) from = Math.max(0, before - 1 - limit);
  const end = before === undefined ? from + limit : before - 1;
  const items = entries.slice(from, Math.min(end, entries.length));
  const last = items.at(-1)?.seq ?? from;
  return { items, has_older: from > 0, has_newer: last < entries.length, complete: true };
}
