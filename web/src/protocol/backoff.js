// How long to wait before the next attempt.

/**
 * Exponential backoff with full jitter: the wait is drawn evenly between nothing and a bound that
 * doubles with every failure. Thousands of pages that lost the same server come back spread out.
 */
export class Backoff {
  #failures = 0;
  #random;
  #base;
  #cap;

  /** `base` and `cap` are milliseconds; `random` draws from [0, 1). */
  constructor({ base = 500, cap = 30_000, random = Math.random } = {}) {
    this.#base = base;
    this.#cap = cap;
    this.#random = random;
  }

  /** The next wait, in milliseconds. */
  next() {
    // 2^16 times the base is far above the cap; more would only lose precision.
    const bound = Math.min(this.#cap, this.#base * 2 ** Math.min(this.#failures, 16));
    this.#failures += 1;
    return Math.floor(this.#random() * bound);
  }

  /** All is well: start over. */
  reset() {
    this.#failures = 0;
  }
}
