// Talks through the npm package ws: joins, sends, drops, resumes, retries.
//
// Arguments: the socket's URL, an access token, a channel. After each step it prints a line of JSON
// and waits for a line on standard input.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';

const [url, token, channel] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin });
const nextLine = lines[Symbol.asyncIterator]();

const step = (facts) => console.log(JSON.stringify(facts));
const goOn = () => nextLine.next();

/** Frames of a socket, one after the other. */
class Frames {
  #waiting = [];
  #wake = () => {};

  constructor(socket) {
    this.socket = socket;
    socket.on('message', (data, isBinary) => {
      assert.equal(isBinary, false);
      this.#waiting.push(JSON.parse(data.toString()));
      this.#wake();
    });
  }

  async next() {
    while (this.#waiting.length === 0) {
      await new Promise((resolve) => (this.#wake = resolve));
    }
    return this.#waiting.shift();
  }

  async find(type, fields = {}) {
    for (;;) {
      const frame = await this.next();
      if (frame.type === type && Object.entries(fields).every(([k, v]) => frame[k] === v)) {
        return frame;
      }
    }
  }
}

async function greet(resume) {
  const socket = new WebSocket(url);
  const frames = new Frames(socket);
  await once(socket, 'open');
  assert.equal(socket.extensions, '');
  socket.send(JSON.stringify({ type: 'hello', token, ...(resume && { resume }) }));
  const welcome = await frames.next();
  assert.equal(welcome.type, 'welcome');
  return { socket, frames, welcome };
}

setTimeout(() => assert.fail('too slow'), 60_000).unref();
const first = await greet();
assert.ok(channel in first.welcome.channels);
const message = { type: 'send', id: 'from-node', channel, body: 'murmur é漢👋' };
first.socket.send(JSON.stringify(message));
const ack = await first.frames.find('ack', { id: 'from-node' });
step({ step: 'sent', seq: ack.seq });
await goOn();
const heard = await first.frames.find('message', { author: 'ann' });
const position = { seq: heard.seq, epoch: heard.epoch };
// The connection breaks without a word.
first.socket.terminate();
step({ step: 'dropped', seq: heard.seq });
await goOn();
const { socket, frames, welcome } = await greet({ [channel]: position });
const head = welcome.channels[channel].seq;
for (let seq = position.seq + 1; seq <= head; seq += 1) {
  assert.equal((await frames.next()).seq, seq);
}
socket.send(JSON.stringify(message));
assert.deepEqual(await frames.find('ack', { id: 'from-node' }), ack);
// Fragments, pings and a clean close, as this library makes them.
socket.send('{"type":', { fin: false });
socket.ping('between');
socket.send('"ping"}', { fin: true });
await once(socket, 'pong');
await frames.find('pong');
socket.close(1000);
const [code] = await once(socket, 'close');
assert.equal(code, 1000);
step({ step: 'resumed', seq: head });
lines.close();
