// The text of a message, before it is sent.

import { BODY_BYTES_MAX } from './limits.js';

const encoder = new TextEncoder();

/** Length in bytes of UTF-8, which is what the limit counts. */
export function byteLength(text) {
  return encoder.encode(text).length;
}

/**
 * Half a surrogate pair cannot be written as UTF-8 and would cost us the socket; it comes from a
 * cut emoji, and nothing readable is lost with it.
 */
export function wellFormed(text) {
  return text.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g,
    '\uFFFD');
}

/** Why a text cannot be sent: `blank`, `too_long`, `zero`, or null when it can. */
export function refusal(text) {
  if (text.trim() === '') return 'blank';
  if (text.includes('\0')) return 'zero';
  return byteLength(text) > BODY_BYTES_MAX ? 'too_long' : null;
}
