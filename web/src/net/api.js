// The calls of the HTTP interface that the page makes.

/** What a refused or failed call throws. */
export class ApiError extends Error {
  /** `code` is the server's stable reason, or `network` when there was no answer. */
  constructor(code, { status = 0, detail = '', retryAfterMs = 0 } = {}) {
    super(detail || code);
    this.code = code;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** One call. A network that fails and a server that refuses both throw an `ApiError`. */
export async function call(method, path, { token, body, signal } = {}) {
  const headers = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  let answer = null;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      signal,
    });
    const text = await response.text();
    if (text) answer = JSON.parse(text);
  } catch {
    if (!response || response.ok) throw new ApiError('network');
  }
  if (response.ok) return answer;
  throw new ApiError(answer?.code ?? 'internal', {
    status: response.status,
    detail: answer?.detail ?? answer?.title ?? '',
    retryAfterMs: 1000 * (Number(response.headers.get('Retry-After')) || 0),
  });
}

/** The calls of a signed-in user; `session` gives the token, and a new one when it is over. */
export class Api {
  #session;

  constructor(session) {
    this.#session = session;
  }

  /** A page of a channel's history; `query` as in the interface. */
  history(id, query) {
    return this.#call('GET', `/v1/channels/${id}/history?${new URLSearchParams(query)}`);
  }

  channel(id) {
    return this.#call('GET', `/v1/channels/${encodeURIComponent(id)}`);
  }

  /** Every channel of the user. */
  async joined() {
    const all = [];
    for (let cursor = ''; cursor !== null;) {
      const page = await this.channels({ joined: true, cursor });
      all.push(...page.items);
      cursor = page.next;
    }
    return all;
  }

  /** A page of the channels that one may see; `query` as in the interface. */
  channels(query) {
    return this.#call('GET', `/v1/channels?${params(query)}`);
  }

  create(channel) {
    return this.#call('POST', '/v1/channels', channel);
  }

  join(id) {
    return this.#call('PUT', `/v1/channels/${id}/subscription`);
  }

  leave(id) {
    return this.#call('DELETE', `/v1/channels/${id}/subscription`);
  }

  members(id, cursor) {
    return this.#call('GET', `/v1/channels/${id}/members?${params({ cursor })}`);
  }

  addMember(id, username) {
    return this.#call('PUT', member(id, username));
  }

  removeMember(id, username) {
    return this.#call('DELETE', member(id, username));
  }

  async #call(method, path, body) {
    const token = await this.#session.token();
    try {
      return await call(method, path, { token, body });
    } catch (error) {
      if (error.status !== 401) throw error;
    }
    // The token ended on the way, or its keys were replaced: once more with a fresh one.
    return call(method, path, { token: await this.#session.token({ fresh: true }), body });
  }
}

function member(id, username) {
  return `/v1/channels/${id}/members/${encodeURIComponent(username)}`;
}

function params(query) {
  const given = Object.entries(query).filter(([, value]) => value);
  return new URLSearchParams([['limit', '200'], ...given]);
}
