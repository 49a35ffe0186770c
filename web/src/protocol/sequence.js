// How entries are applied: each once and in order.

/** The place of a receiver in a channel. */
export class Sequence {
  #position;

  /** Goes on after `position`. */
  constructor(position) {
    this.#position = { seq: position.seq, epoch: position.epoch };
  }

  /** The last applied entry. */
  get position() {
    return this.#position;
  }

  /**
   * Takes the entry at `position` and tells what to do with it: `apply`, `repeat` (seen before:
   * drop it) or `gap` (others before it are missing: repair; nothing has changed).
   */
  accept({ seq, epoch }) {
    if (seq <= this.#position.seq) return 'repeat';
    if (seq > this.#position.seq + 1) return 'gap';
    this.#position = { seq, epoch };
    return 'apply';
  }
}
