// The frames of the socket: reading the server's, writing the client's.

// An acknowledgement also has a channel, a number and a time, but is no entry; so the frames
// that are known not to be entries are listed.
const NO_ENTRY = new Set([
  'welcome', 'ack', 'stored', 'reset', 'resend', 'reconnect', 'renewed', 'error', 'pong',
]);

/** Reads a text frame. Answers null for whatever is not an object with a `type`. */
export function parse(text) {
  let frame;
  try {
    frame = JSON.parse(text);
  } catch {
    return null;
  }
  const isFrame = frame !== null && typeof frame === 'object' && typeof frame.type === 'string';
  return isFrame ? frame : null;
}

/**
 * Whether a frame is an entry of a channel. A type that this page does not know, but with a
 * place in a channel, is a newer kind of entry: it is counted and stepped over.
 */
export function isEntry(frame) {
  return !NO_ENTRY.has(frame.type)
    && typeof frame.channel === 'string'
    && Number.isSafeInteger(frame.seq) && frame.seq > 0
    && typeof frame.sent_at === 'string';
}

/** The position that follows from having applied an entry. */
export function positionOf({ seq, epoch }) {
  return { seq, epoch };
}

/** The first frame of a socket. */
export function hello(token, resume) {
  const frame = { type: 'hello', token };
  if (Object.keys(resume).length > 0) frame.resume = resume;
  return JSON.stringify(frame);
}

/** A message. */
export function send({ id, channel, body }) {
  return JSON.stringify({ type: 'send', id, channel, body });
}

/** A new token for the same session. */
export function auth(token) {
  return JSON.stringify({ type: 'auth', token });
}

/** A question whether the server is there: a browser cannot send the socket's own pings. */
export function ping() {
  return JSON.stringify({ type: 'ping' });
}
