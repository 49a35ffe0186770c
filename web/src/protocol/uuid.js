// Ids of messages.

/**
 * A version 7 UUID: the time in milliseconds, then chance. The server finds fresh ones without
 * asking its database, and refuses those of the future; so `now` should be the server's time.
 */
export function uuidv7(now, bytes = crypto.getRandomValues(new Uint8Array(16))) {
  let time = Math.floor(now);
  for (let i = 5; i >= 0; i -= 1) {
    bytes[i] = time % 256;
    time = Math.floor(time / 256);
  }
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)]
    .join('-');
}
