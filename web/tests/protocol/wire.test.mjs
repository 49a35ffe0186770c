// The frozen example frames: every one of the server is understood, and ours look like those of
// a client.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Chat } from '../../src/protocol/chat.js';
import { Connection } from '../../src/protocol/connection.js';
import * as frames from '../../src/protocol/frames.js';
import { Clock, FakeSocket, page, settled } from './world.mjs';

const WIRE = new URL('../../../crates/protocol/tests/wire/v1/', import.meta.url);
const read = (folder) => readdirSync(new URL(`${folder}/`, WIRE))
  .filter((name) => name.endsWith('.json'))
  .map((name) => [name, readFileSync(new URL(`${folder}/${name}`, WIRE), 'utf8')]);
const example = (folder, name) => JSON.parse(
  readFileSync(new URL(`${folder}/${name}.json`, WIRE), 'utf8'));

const ROOM = example('server', 'message').channel;
const OWN_ID = example('server', 'ack_stored').id;

// A page of `ann` with a live socket, one channel in which all before `seq` was applied, and the
// message of the examples in the outbox.
async function ann(seq = 0, epoch = 1) {
  const told = { refused: [], gone: [], signedOut: null };
  const socket = new FakeSocket();
  const clock = new Clock();
  let chat;
  const connection = new Connection({
    open: () => socket,
    token: async () => 'token',
    resume: () => chat.positions(),
    clock,
    random: () => 0.5,
    on: {
      welcome: (frame) => chat.welcome(frame),
      frame: (frame) => chat.receive(frame),
      state: () => {},
      signedOut: (reason) => {
        told.signedOut = reason;
      },
    },
  });
  chat = new Chat({
    me: 'ann',
    clock,
    random: () => 0.5,
    reads: { get: () => null, set() {} },
    api: {
      history: async () => page([], { limit: 1 }),
      channel: async (id) => ({ id, name: 'name', owner: 'zoe' }),
      joined: async () => [],
    },
    send: (text) => connection.send(text),
    on: {
      changed() {},
      applied() {},
      gone: (channel) => told.gone.push(channel.id),
      refused: (frame) => told.refused.push(frame.code),
    },
  });
  connection.start();
  await settled();
  socket.opens();
  socket.says({ ...example('server', 'welcome'), channels: { [ROOM]: { seq, epoch } } });
  chat.outbox.load([{ id: OWN_ID, channel: ROOM, body: 'hi', at: 0, state: 'pending' }]);
  return { chat, socket, clock, told, channel: chat.channels.get(ROOM) };
}

const state = ({ chat }) => chat.outbox.unseen(ROOM)[0]?.state;

// What each frame has to do, by its `type`; an example of another type fails this test.
const EFFECTS = {
  welcome: async (frame) => {
    const { chat, socket } = await ann();
    socket.says(frame);
    chat.welcome(frame);
    assert.deepEqual([...chat.channels.keys()], Object.keys(frame.channels));
  },
  ack: async (frame) => {
    const world = await ann();
    world.socket.says(frame);
    assert.equal(state(world), frame.level);
  },
  stored: async (frame) => {
    const world = await ann();
    world.socket.says(example('server', 'ack_queued'));
    world.socket.says(frame);
    assert.equal(world.chat.outbox.size, 0);
  },
  message: appliedEntry,
  joined: appliedEntry,
  left: appliedEntry,
  tombstone: appliedEntry,
  reset: async (frame) => {
    const { chat, socket, told } = await ann();
    socket.says({ ...frame, channel: ROOM });
    const { seq, epoch } = frame;
    if (frame.reason === 'unavailable') assert.deepEqual(told.gone, [ROOM]);
    else assert.deepEqual(chat.positions(), { [ROOM]: { seq, epoch } });
  },
  resend: async (frame) => {
    const world = await ann();
    world.socket.says(example('server', 'ack_queued'));
    world.socket.says(frame);
    assert.equal(state(world), 'pending');
    assert.equal(world.socket.sent.at(-1).id, OWN_ID);
  },
  reconnect: async (frame) => {
    const { socket, clock } = await ann();
    socket.says(frame);
    await clock.pass(frame.after_ms);
    socket.opens();
    assert.equal(socket.sent.filter(({ type }) => type === 'hello').length, 2);
  },
  renewed: async (frame) => {
    const { socket, clock } = await ann();
    socket.says({ ...frame, expires_in: 8 });
    await clock.pass(6000);
    assert.equal(socket.sent.at(-1).type, 'auth');
  },
  error: async (frame) => {
    const world = await ann();
    world.socket.says(frame);
    if (frame.id === undefined) assert.deepEqual(world.told.refused, [frame.code]);
    else assert.equal(state(world), frame.retry_after_ms === undefined ? 'failed' : 'pending');
  },
  pong: async (frame) => {
    const { socket, clock } = await ann();
    await clock.pass(25_000);
    socket.says(frame);
    await clock.pass(24_000);
    assert.equal(socket.closed, null);
  },
};

async function appliedEntry(frame) {
  const { socket, channel } = await ann(frame.seq - 1);
  socket.says(frame);
  assert.deepEqual(channel.position, { seq: frame.seq, epoch: frame.epoch });
}

for (const [name, text] of read('server')) {
  test(`the server's ${name}`, async () => {
    const frame = frames.parse(text);
    assert.ok(EFFECTS[frame?.type], `no effect is known of ${name}`);
    await EFFECTS[frame.type](frame);
  });
}

for (const [name, text] of read('newer')) {
  test(`a newer server's ${name}`, async () => {
    const frame = frames.parse(text);
    const { socket, channel } = await ann((frame.seq ?? 1) - 1);
    const before = channel.position.seq;
    socket.says(frame);
    assert.equal(channel.position.seq, frame.seq ?? before);
    assert.equal(socket.closed, null);
  });
}

test('our frames are those of a client', () => {
  const { token, resume } = example('client', 'hello_resume');
  assert.deepEqual(JSON.parse(frames.hello(token, resume)), example('client', 'hello_resume'));
  assert.deepEqual(JSON.parse(frames.hello(token, {})), example('client', 'hello'));
  assert.deepEqual(JSON.parse(frames.auth(token)), example('client', 'auth'));
  assert.deepEqual(JSON.parse(frames.ping()), example('client', 'ping'));
  const send = example('client', 'send');
  assert.deepEqual(JSON.parse(frames.send({ ...send, at: 0, state: 'pending' })), send);
});

test('what is no frame is passed over', async () => {
  const { socket, chat } = await ann();
  for (const data of ['', 'x', '[]', 'null', '1', '"a"', '{"type":1}', '{}', '{"type":"x"}']) {
    socket.onmessage({ data });
  }
  assert.equal(chat.channels.size, 1);
});
