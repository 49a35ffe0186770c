// Who is signed in. The access token lives in this module's memory only; the refresh token is a
// cookie that no script can read.

import { ApiError, call } from './api.js';

/** A token with less than this part of its life left is not used any more. */
const SPARE = 0.1;

/** A session with the server. */
export class Session {
  /** `{id, username}`, or null when nobody is signed in. */
  user = null;
  #token = null;
  #expiresAt = 0;
  #refreshing = null;

  /** Makes an account and signs in. */
  register(username, password) {
    return this.#enter('/v1/auth/register', username, password);
  }

  /** Signs in. */
  login(username, password) {
    return this.#enter('/v1/auth/login', username, password);
  }

  /** Signs in by the cookie; throws where there is none that is good. */
  async restore() {
    await this.token({ fresh: true });
  }

  /** Ends the session, here and in the server. */
  async logout() {
    await call('POST', '/v1/auth/logout', { body: {} }).catch((error) => {
      // 401: it had ended already, which is what was wanted.
      if (error.status !== 401) throw error;
    });
    this.forget();
  }

  /** Nobody is signed in any more. */
  forget() {
    this.user = null;
    this.#token = null;
    this.#expiresAt = 0;
  }

  /**
   * An access token that is good for a while. An error whose `final` is true says that the
   * session is over; any other may pass.
   */
  async token({ fresh = false } = {}) {
    if (!fresh && this.#token && performance.now() < this.#expiresAt) {
      return this.#token;
    }
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = null;
    });
    await this.#refreshing;
    return this.#token;
  }

  async #enter(path, username, password) {
    this.#take(await call('POST', path, { body: { username, password, session: 'cookie' } }));
  }

  async #refresh() {
    const before = this.user;
    // Tabs share the cookie: one renews at a time, so that none comes with an outdated one.
    const answer = await alone(() => call('POST', '/v1/auth/refresh', { body: {} }))
      .catch((error) => {
        if (error.status === 401 || error.status === 403) error.final = true;
        throw error;
      });
    this.#take(answer);
    if (before && before.id !== this.user.id) {
      const error = new ApiError('other_user');
      error.final = true;
      throw error;
    }
  }

  #take({ access_token: token, expires_in: seconds, user }) {
    this.#token = token;
    // A clock that nobody can set: the token's age must not depend on the time of day here.
    this.#expiresAt = performance.now() + seconds * 1000 * (1 - SPARE);
    this.user = typeof user === 'string' ? { id: user, username: user } : user;
  }
}

function alone(work) {
  if (!navigator.locks) return work();
  return navigator.locks.request('banter-refresh', work);
}
