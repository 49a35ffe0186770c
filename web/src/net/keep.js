// What a browser keeps between loads. It may refuse to (private windows, full disk): then nothing
// is kept, and everything still works.

/** Reads a value that `put` wrote, or answers `otherwise`. */
export function get(storage, key, otherwise) {
  try {
    const text = storage().getItem(key);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

/** Writes a value, if it can. */
export function put(storage, key, value) {
  try {
    storage().setItem(key, JSON.stringify(value));
  } catch {
    // Not kept.
  }
}

/** Removes a value. */
export function drop(storage, key) {
  try {
    storage().removeItem(key);
  } catch {
    // Was not kept.
  }
}

/** Storage of this browser, shared by its tabs. */
export const browser = () => localStorage;
/** Storage of this tab. */
export const tab = () => sessionStorage;

/** Read markers of one user: `get(id)`, `set(id, seq)`, and `elsewhere(tell)` for other tabs. */
export class Reads {
  #key;
  #seqs;
  #timer = null;

  constructor(userId) {
    this.#key = `banter.read.${userId}`;
    const kept = get(browser, this.#key, {});
    this.#seqs = kept !== null && typeof kept === 'object' ? kept : {};
  }

  get(id) {
    const seq = this.#seqs[id];
    return Number.isSafeInteger(seq) ? seq : null;
  }

  set(id, seq) {
    this.#seqs[id] = seq;
    // A busy channel moves its marker many times a second.
    this.#timer ??= setTimeout(() => this.flush(), 500);
  }

  /** Writes what has changed. */
  flush() {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    put(browser, this.#key, this.#seqs);
  }

  /** Calls `tell(id, seq)` for markers that another tab has moved; answers how to stop. */
  elsewhere(tell) {
    const listen = ({ key, newValue }) => {
      if (key !== this.#key || !newValue) return;
      for (const [id, seq] of Object.entries(JSON.parse(newValue))) {
        if (seq <= (this.get(id) ?? 0)) continue;
        this.#seqs[id] = seq;
        tell(id, seq);
      }
    };
    addEventListener('storage', listen);
    return () => removeEventListener('storage', listen);
  }
}
