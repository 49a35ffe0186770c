// What the frames of the server do to what a person sees.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { Chat } from '../../src/protocol/chat.js';
import { Clock, entry, page, seeded, settled } from './world.mjs';

const ROOM = 'room';
const at = (seq, epoch = 1) => ({ seq, epoch });

let clock;
let server;
let sent;
let gone;
let reads;
let chat;

beforeEach(() => {
  clock = new Clock();
  server = { entries: [], fails: 0, hold: null };
  sent = [];
  gone = [];
  reads = new Map();
  chat = makeChat();
});

function makeChat() {
  return new Chat({
    me: 'ann',
    clock,
    random: () => 0.5,
    reads: { get: (id) => reads.get(id) ?? null, set: (id, seq) => reads.set(id, seq) },
    api: {
      history: async (id, query) => {
        const answer = page(server.entries, query);
        if (server.hold) await server.hold;
        if (server.fails > 0) {
          server.fails -= 1;
          throw Object.assign(new Error(), { code: 'unavailable' });
        }
        return answer;
      },
      channel: async (id) => ({ id, name: `name of ${id}`, owner: 'bob', private: false }),
      joined: async () => [],
    },
    send: (text) => {
      sent.push(JSON.parse(text));
      return true;
    },
    on: {
      changed: () => {},
      applied: () => {},
      refused: () => {},
      gone: (channel, last) => gone.push([channel.id, last?.by ?? null]),
    },
  });
}

function welcome(channels) {
  chat.welcome({ channels, server_time: new Date(clock.now() + 60_000).toISOString() });
}

function write(count, more) {
  for (let i = 0; i < count; i += 1) {
    server.entries.push(entry(ROOM, server.entries.length + 1, more));
  }
}

function tell(...seqs) {
  for (const seq of seqs) chat.receive(server.entries[seq - 1]);
}

async function open() {
  chat.show(chat.channels.get(ROOM));
  chat.attend(true);
  await settled();
  return chat.shown;
}

const shown = () => chat.shown.timeline.entries.map(({ seq }) => seq);

test('live entries follow the page that was read', async () => {
  write(3);
  welcome({ [ROOM]: at(3) });
  await open();
  write(1);
  tell(4);
  assert.deepEqual(shown(), [1, 2, 3, 4]);
  assert.deepEqual(chat.positions(), { [ROOM]: at(4) });
});

test('a gap is repaired from history, whatever it takes', async () => {
  write(3);
  welcome({ [ROOM]: at(3) });
  await open();
  write(4);
  server.fails = 2;
  tell(6, 7, 5);
  assert.deepEqual(shown(), [1, 2, 3]);
  await clock.pass(5000);
  assert.deepEqual(shown(), [1, 2, 3, 4, 5, 6, 7]);
  assert.equal(chat.shown.hasGap, false);
});

test('any delivery, shuffled, repeated and cut, is applied whole and once', async () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const random = seeded(seed);
    server = { entries: [], fails: 0, hold: null };
    chat = makeChat();
    welcome({ [ROOM]: at(0) });
    const channel = await open();
    write(40);
    const order = server.entries.map(({ seq }) => seq)
      .flatMap((seq) => (random() < 0.2 ? [] : random() < 0.2 ? [seq, seq] : [seq]))
      .map((seq) => [seq + random() * 6, seq]).sort(([a], [b]) => a - b).map(([, seq]) => seq);
    for (const seq of order) {
      tell(seq);
      if (random() < 0.2) await clock.pass(100);
    }
    write(1);
    tell(41);
    await clock.pass(60_000);
    assert.deepEqual(shown(), server.entries.map(({ seq }) => seq), `seed ${seed}`);
    assert.equal(channel.position.seq, 41);
  }
});

test('too far: keeps what is there, pages the rest, and goes on live behind it', async () => {
  write(5);
  welcome({ [ROOM]: at(5) });
  await open();
  write(195);
  chat.receive({ type: 'reset', channel: ROOM, reason: 'too_far', ...at(200) });
  await settled();
  assert.equal(shown()[0], 1);
  assert.ok(chat.shown.timeline.hasNewer);
  write(1);
  tell(201);
  assert.deepEqual(chat.positions(), { [ROOM]: at(201) });
  while (chat.shown.timeline.hasNewer) await chat.pager.newer(chat.shown);
  assert.equal(shown().at(-1), 201);
});

test('another epoch: what was cached is discarded, also a page that is under way', async () => {
  write(100);
  welcome({ [ROOM]: at(100) });
  await open();
  let release;
  server.hold = new Promise((resolve) => {
    release = resolve;
  });
  chat.pager.older(chat.shown);
  server.hold = null;
  server.entries = [];
  write(4, { epoch: 2, body: 'another history' });
  chat.receive({ type: 'reset', channel: ROOM, reason: 'epoch', ...at(4, 2) });
  release();
  await settled();
  assert.deepEqual(chat.shown.timeline.entries.map(({ body }) => body),
    Array(4).fill('another history'));
  assert.deepEqual(chat.positions(), { [ROOM]: at(4, 2) });
});

test('unavailable: the channel is gone', () => {
  welcome({ [ROOM]: at(5) });
  chat.receive({ type: 'reset', channel: ROOM, reason: 'unavailable' });
  assert.deepEqual([...chat.channels.keys()], []);
  assert.deepEqual(gone, [[ROOM, null]]);
});

test('joined by somebody, removed by somebody', () => {
  welcome({});
  chat.receive(entry(ROOM, 8, { type: 'joined', user: 'ann' }));
  chat.receive(entry(ROOM, 9));
  assert.equal(chat.channels.get(ROOM).unread, 1);
  chat.receive(entry(ROOM, 10, { type: 'left', user: 'ann', by: 'bob' }));
  assert.deepEqual(gone, [[ROOM, 'bob']]);
});

test('a channel that welcome does not name any more is gone', () => {
  welcome({ [ROOM]: at(5), other: at(2) });
  welcome({ other: at(2) });
  assert.deepEqual([...chat.channels.keys()], ['other']);
});

test('messages of others count as unread until they are seen; comings and goings do not', () => {
  welcome({ [ROOM]: at(0) });
  const channel = chat.channels.get(ROOM);
  write(1, { type: 'joined', user: 'bob' });
  write(2);
  write(1, { type: 'edited' });
  tell(1, 2, 3, 4);
  assert.equal(channel.unread, 2);
  write(1, { author: 'ann' });
  tell(5);
  assert.equal(channel.unread, 0, 'who answers has read');
});

test('what was missed while away is counted by messages, not by numbers', async () => {
  write(2);
  write(3, { type: 'joined', user: 'bob' });
  write(2);
  reads.set(ROOM, 1);
  welcome({ [ROOM]: at(7) });
  await settled();
  assert.equal(chat.channels.get(ROOM).unread, 3);
  assert.equal(chat.channels.get(ROOM).unreadIsRough, false);
});

test('what is not looked at is unread, also in the shown channel', async () => {
  write(2);
  welcome({ [ROOM]: at(2) });
  const channel = await open();
  chat.attend(false);
  write(1);
  tell(3);
  assert.deepEqual([channel.unread, channel.newAfter], [1, 2]);
  chat.attend(true);
  assert.deepEqual([channel.unread, reads.get(ROOM)], [0, 3]);
});

test('a message is sent once, acknowledged, and replaced by its entry', async () => {
  welcome({ [ROOM]: at(0) });
  await open();
  chat.say(ROOM, 'hello');
  assert.equal(sent.length, 1);
  const { id } = sent[0];
  const time = Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);
  assert.equal(time, clock.now() + 60_000, 'the id carries the server\'s time');
  chat.receive({ type: 'ack', id, channel: ROOM, ...at(1), level: 'stored' });
  assert.equal(chat.outbox.unseen(ROOM).length, 1);
  chat.receive(entry(ROOM, 1, { id, author: 'ann', body: 'hello' }));
  assert.equal(chat.outbox.unseen(ROOM).length, 0);
  assert.deepEqual(shown(), [1]);
});

test('after a reconnect the same id is sent again, and shown once', async () => {
  welcome({ [ROOM]: at(0) });
  await open();
  chat.say(ROOM, 'hello');
  welcome({ [ROOM]: at(1) });
  assert.equal(sent.length, 2);
  assert.equal(sent[0].id, sent[1].id);
  chat.receive(entry(ROOM, 1, { id: sent[0].id, author: 'ann', body: 'hello' }));
  chat.receive({ type: 'ack', id: sent[0].id, channel: ROOM, ...at(1), level: 'stored' });
  assert.equal(chat.outbox.size, 0);
  assert.deepEqual(shown(), [1]);
});

test('`resend` sends the outbox again', () => {
  welcome({ [ROOM]: at(0) });
  chat.say(ROOM, 'hello');
  chat.receive({ type: 'ack', id: sent[0].id, channel: ROOM, ...at(1), level: 'queued' });
  chat.receive({ type: 'resend' });
  assert.deepEqual(sent.map(({ id }) => id), [sent[0].id, sent[0].id]);
});

test('a busy channel is tried again when the server says', async () => {
  welcome({ [ROOM]: at(0) });
  chat.say(ROOM, 'hello');
  const { id } = sent[0];
  chat.receive({ type: 'error', code: 'slow_down', id, channel: ROOM, retry_after_ms: 250 });
  await clock.pass(249);
  assert.equal(sent.length, 1);
  await clock.pass(1);
  assert.deepEqual(sent.map((frame) => frame.id), [id, id]);
});

test('a full outbox goes out in bursts', async () => {
  chat = new Chat({ ...deps(), send: () => false });
  for (let i = 0; i < 450; i += 1) assert.ok(chat.say(ROOM, `text ${i}`));
  let count = 0;
  const other = new Chat({ ...deps(), send: () => ((count += 1) > 0) });
  other.outbox.load(chat.outbox.dump());
  other.welcome({ channels: { [ROOM]: at(0) }, server_time: new Date().toISOString() });
  assert.equal(count, 200);
  await clock.pass(500);
  assert.equal(count, 400);
  await clock.pass(500);
  assert.equal(count, 450);
});

function deps() {
  const on = { changed() {}, applied() {}, gone() {}, refused() {} };
  const api = { history: async () => page([], { limit: 1 }), channel: async () => ({}) };
  return { me: 'ann', clock, random: () => 0.5, reads: { get: () => null, set() {} }, api, on };
}

test('a page that cannot be read is told, and read after the next welcome', async () => {
  write(3);
  server.fails = 1;
  welcome({ [ROOM]: at(3) });
  await open();
  assert.equal(chat.shown.failure.code, 'unavailable');
  welcome({ [ROOM]: at(3) });
  await settled();
  assert.deepEqual(shown(), [1, 2, 3]);
});
