// A server of the test's own: the real binary, a free port, a directory that vanishes.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Password of every account that the tests make. */
export const PASSWORD = 'correct horse battery';

/** A server that can be ended and started again on the same port and data. */
export class Server {
  #child = null;
  #log = '';

  /** Starts one. `BANTER_BIN` names the binary. */
  static async start() {
    const server = new Server();
    server.dir = await mkdtemp(join(tmpdir(), 'banter-web-'));
    server.port = await freePort();
    server.adminPort = await freePort();
    server.origin = `http://127.0.0.1:${server.port}`;
    await server.up();
    return server;
  }

  /** Starts it (again), and returns once it serves. */
  async up() {
    const binary = process.env.BANTER_BIN;
    if (!binary) throw new Error('BANTER_BIN must name the banter binary to test');
    const address = (port) => `127.0.0.1:${port}`;
    this.#child = spawn(binary, [
      'serve',
      '--listen', address(this.port),
      '--admin-listen', address(this.adminPort),
      '--data-dir', this.dir,
    ], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.on('data', (data) => {
        this.#log += data;
      });
    }
    const ended = once(this.#child, 'exit').then(() => {
      throw new Error(`the server ended by itself:\n${this.#log}`);
    });
    ended.catch(() => {});
    // The line with the address is the promise that it can serve.
    const ready = new Promise((resolve) => {
      this.#child.stdout.on('data', () => {
        if (this.#log.includes(this.origin)) resolve();
      });
    });
    await Promise.race([ready, ended]);
  }

  /** Ends it: `SIGKILL` at once, `SIGTERM` with a drain. */
  async down(signal = 'SIGKILL') {
    const exit = once(this.#child, 'exit');
    this.#child.kill(signal);
    await exit;
  }

  /** Ends it for good. */
  async close() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.down();
    await rm(this.dir, { recursive: true, force: true });
  }

  /** Makes an account without a browser; answers what it can do. */
  async account(username) {
    const tokens = await this.call('POST', '/v1/auth/register', null,
      { username, password: PASSWORD });
    const { access_token: token } = tokens;
    return {
      username,
      call: (method, path, body) => this.call(method, path, token, body),
      say: (id, body) => this.call('POST', `/v1/channels/${id}/messages`, token, { body }),
    };
  }

  /** One call; a refusal is an error. */
  async call(method, path, token, body) {
    const headers = { 'Content-Type': 'application/json' };
    if (token) headers.Authorization = `Bearer ${token}`;
    const init = { method, headers, body: body && JSON.stringify(body) };
    const response = await fetch(this.origin + path, init);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }
}

async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  listener.close();
  await once(listener, 'close');
  return port;
}
