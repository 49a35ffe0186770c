// A client that shares no code with the page: the `ws` package and the protocol's document.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import WebSocket from 'ws';

import { PASSWORD, Server } from './support/server.mjs';

let server;
let ann;
let bob;
let room;
const sockets = [];

before(async () => {
  server = await Server.start();
  ann = await server.account('ann');
  bob = await server.account('bob');
  room = await ann.call('POST', '/v1/channels', { name: 'room' });
  await bob.call('PUT', `/v1/channels/${room.id}/subscription`);
});

after(async () => {
  for (const socket of sockets) socket.terminate();
  await server?.close();
});

// A socket whose frames are read one by one, in order.
class Wire {
  #frames = [];
  #wake = null;

  constructor(options = {}) {
    this.socket = new WebSocket(`ws://127.0.0.1:${server.port}/v1/connect`, options);
    sockets.push(this.socket);
    this.socket.on('message', (data, isBinary) => {
      assert.equal(isBinary, false);
      this.#frames.push(JSON.parse(data));
      this.#wake?.();
    });
    this.closed = new Promise((resolve) => {
      this.socket.once('close', resolve);
    });
  }

  static async greet(who, resume) {
    const wire = new Wire();
    await once(wire.socket, 'open');
    const { access_token: token } = await server.call('POST', '/v1/auth/login', null,
      { username: who, password: PASSWORD });
    wire.send({ type: 'hello', token, resume });
    const welcome = await wire.next('welcome');
    return { wire, welcome };
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  // The next frame of this type; those before it are dropped.
  async next(type) {
    for (;;) {
      while (this.#frames.length > 0) {
        const frame = this.#frames.shift();
        if (frame.type === type) return frame;
      }
      await new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no ${type} came`)), 10_000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

test('joins, sends, drops and resumes: nothing is missing, nothing comes twice', async () => {
  const { wire: writer } = await Wire.greet('ann');
  const { wire: reader, welcome } = await Wire.greet('bob');
  let position = welcome.channels[room.id];
  const texts = [];
  for (let round = 0; round < 5; round += 1) {
    for (let i = 0; i < 20; i += 1) {
      texts.push(`round ${round}, text ${i}`);
      writer.send({ type: 'send', id: `r${round}-${i}`, channel: room.id, body: texts.at(-1) });
    }
    const { seq } = await last(writer, 20);
    if (round === 0) reader.socket.terminate();
    const { wire } = await Wire.greet('bob', { [room.id]: position });
    for (let expected = position.seq + 1; expected <= seq; expected += 1) {
      const entry = await wire.next('message');
      assert.equal(entry.seq, expected);
      assert.equal(entry.body, texts.at(expected - seq - 1));
      position = { seq: entry.seq, epoch: entry.epoch };
    }
    // Dropped without a word, as networks do.
    wire.socket.terminate();
  }
  writer.socket.close();
});

async function last(wire, count) {
  let ack;
  for (let i = 0; i < count; i += 1) ack = await wire.next('ack');
  return ack;
}

test('the same id on another socket and over HTTP is the same message', async () => {
  const frame = { type: 'send', id: 'only-once', channel: room.id, body: 'once' };
  const acks = [];
  for (let i = 0; i < 2; i += 1) {
    const { wire } = await Wire.greet('ann');
    wire.send(frame);
    acks.push(await wire.next('ack'));
    wire.socket.close();
  }
  assert.equal(acks[0].seq, acks[1].seq);
  const page = await ann.call('GET', `/v1/channels/${room.id}/history`);
  assert.equal(page.items.filter(({ id }) => id === 'only-once').length, 1);
});

test('a restart of the server: the socket is told to come back, and resumes', async () => {
  const { wire, welcome } = await Wire.greet('bob');
  const { wire: writer } = await Wire.greet('ann');
  writer.send({ type: 'send', id: 'before', channel: room.id, body: 'before the restart' });
  await writer.next('ack');
  await server.down('SIGTERM');
  assert.equal(await wire.closed, 4000);
  await server.up();
  const { wire: again } = await Wire.greet('bob', { [room.id]: welcome.channels[room.id] });
  const { body } = await again.next('message');
  assert.equal(body, 'before the restart');
});

test('what a stranger does is answered as the document says', async () => {
  const closes = [
    [4501, (socket) => socket.send('{"type":"ping"}')],
    [4500, (socket) => socket.send('no frame')],
    [4503, (socket) => socket.send('{"type":"hello","token":"x.y.z"}')],
    [1003, (socket) => socket.send(Buffer.from([1, 2, 3]))],
    [1009, (socket) => socket.send('x'.repeat(65 * 1024))],
  ];
  for (const [code, act] of closes) {
    const wire = new Wire();
    await once(wire.socket, 'open');
    act(wire.socket);
    assert.equal(await wire.closed, code);
  }
});

test('another site\'s page may not connect, one\'s own may', async () => {
  const foreign = new Wire({ origin: 'https://elsewhere.example' });
  const [error] = await once(foreign.socket, 'error');
  assert.match(error.message, /403/);
  const own = new Wire({ origin: server.origin });
  await once(own.socket, 'open');
  own.socket.close();
});
