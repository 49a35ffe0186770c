// What the end of a socket asks of the client.

// Ends by which the server, or the socket layer itself, says that this client errs.
const OUR_FAULT = new Set([1002, 1003, 1007, 1009]);

/**
 * What to do after a close:
 * `resume` come back and resume; `renew` the same with a fresh token; `signed_out` the session
 * is over; `stop` do not come back unless the person asks for it.
 */
export function afterClose(code) {
  if (code === 4401 || code === 4503) return 'renew';
  if (code === 4504 || code === 4505) return 'signed_out';
  if (OUR_FAULT.has(code) || (code >= 4500 && code <= 4999)) return 'stop';
  return 'resume';
}
