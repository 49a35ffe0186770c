// What the page says when something does not work: what happened, and what to do.

const WORDS = {
  network: 'The server cannot be reached. Check your connection, then try again.',
  internal: 'Something went wrong on the server. Try again in a moment.',
  unavailable: 'The server cannot do this just now. Try again in a moment.',
  overloaded: 'The server is very busy. Try again in a moment.',
  draining: 'The server is restarting. Try again in a moment.',
  login_failed: 'The username or the password is wrong.',
  registration_closed: 'New accounts are made by an administrator here.',
  origin_refused: 'This address is not one that the server accepts. Ask its administrator.',
  username_taken: 'Somebody has this username. Choose another.',
  username_invalid: 'A username has 3 to 32 of a–z, 0–9, dot, underscore and hyphen.',
  password_weak: 'Choose a password of at least 8 characters that is not a common one.',
  name_taken: 'There is a channel with this name. Find it to join, or choose another name.',
  name_invalid: 'A name has 1 to 80 characters and no control characters.',
  topic_invalid: 'A topic has at most 1,024 characters.',
  too_many_channels: 'You are in as many channels as one can be. Leave one first.',
  channel_not_found: 'This channel does not exist, or it is private.',
  not_a_member: 'You are not a member of this channel any more.',
  not_owner: 'Only the owner of the channel can do this.',
  barred: 'The owner has removed this person. Only the owner can add them again.',
  user_not_found: 'Nobody has this username.',
  owner_stays: 'The owner cannot be removed.',
  body_invalid: 'The server does not take this text.',
  id_invalid: 'The server does not take this message. Discard it and write it again.',
  session_ended: 'You were logged out. Log in again.',
  refresh_invalid: 'Your session is over. Log in again.',
  token_invalid: 'Your session is over. Log in again.',
  account_disabled: 'This account is disabled. Ask an administrator.',
  incomplete: 'The newest messages cannot be read just now.',
  unsent: 'This was not sent.',
};

/** A sentence for an error with a `code`. */
export function wordsFor(error) {
  if (error.code === 'login_throttled' || error.code === 'too_many_requests') {
    const seconds = Math.max(1, Math.ceil((error.retryAfterMs ?? 0) / 1000));
    return `Too many attempts. Wait ${duration(seconds)}, then try again.`;
  }
  return WORDS[error.code] ?? (error.message || WORDS.internal);
}

/** Why the connection has stopped by itself. */
export function wordsForClose(code) {
  if (code === 4509) return 'You have Banter open in too many places. Close some of them.';
  if (code === 4502) return 'The connection was too slow to start.';
  return 'The server closed the connection. Reload the page if this happens again.';
}

/** Seconds, for people. */
export function duration(seconds) {
  if (seconds < 90) return seconds === 1 ? '1 second' : `${seconds} seconds`;
  return `${Math.ceil(seconds / 60)} minutes`;
}

/** A number of things, for people. */
export function count(number, one, many) {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}
