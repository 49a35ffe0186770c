// The limits that the page itself has to respect, as the protocol document states them,
// and those of its own that keep the memory of a tab bounded.

/** Longest body of a message, in bytes of UTF-8. */
export const BODY_BYTES_MAX = 16 * 1024;
/** Messages that wait in the outbox before the page refuses more. */
export const OUTBOX_MAX = 1000;
/** Entries asked for at a time: some screens full, and one round trip. */
export const PAGE = 60;
/** Entries asked for when a gap is repaired: the largest page there is. */
export const REPAIR_PAGE = 200;
/** Entries of one channel that are kept and shown; beyond it the far end is dropped. */
export const WINDOW_MAX = 400;
/** Entries that may arrive ahead of a gap; beyond it, paging is cheaper than repairing. */
export const AHEAD_MAX = 500;
/** Sends in one go; with `SEND_BURST_MS` it stays below the server's 500 frames a second. */
export const SEND_BURST = 200;
/** Pause between two bursts of sends, in milliseconds. */
export const SEND_BURST_MS = 500;
/** Silence after which the page asks whether the server is still there, in milliseconds. */
export const QUIET_MS = 25_000;
/** How long the answer to that, or to `hello`, may take, in milliseconds. */
export const ANSWER_MS = 10_000;
