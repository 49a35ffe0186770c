// The connection: comes back, resumes, renews, and knows when to stop.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { Connection } from '../../src/protocol/connection.js';
import { Clock, FakeSocket, settled } from './world.mjs';

const WELCOME = { type: 'welcome', expires_in: 600, channels: {} };

let clock;
let sockets;
let seen;
let connection;
let token;

beforeEach(() => {
  clock = new Clock();
  sockets = [];
  seen = { states: [], frames: [], welcomes: 0, signedOut: null, tokens: [] };
  token = async () => 't1';
  connection = new Connection({
    open: () => sockets[sockets.push(new FakeSocket()) - 1],
    token: (how) => {
      seen.tokens.push(how.fresh);
      return token(how);
    },
    resume: () => ({ c: { seq: 5, epoch: 1 } }),
    clock,
    random: () => 0.5,
    on: {
      welcome: () => {
        seen.welcomes += 1;
      },
      frame: (frame) => seen.frames.push(frame.type),
      state: (state) => seen.states.push(state.name),
      signedOut: (reason) => {
        seen.signedOut = reason;
      },
    },
  });
});

async function greet() {
  await settled();
  sockets.at(-1).opens();
  sockets.at(-1).says(WELCOME);
}

async function live() {
  connection.start();
  await greet();
}

test('says hello with its positions, and is live after welcome', async () => {
  await live();
  const resume = { c: { seq: 5, epoch: 1 } };
  assert.deepEqual(sockets[0].sent, [{ type: 'hello', token: 't1', resume }]);
  assert.deepEqual(seen.states, ['connecting', 'live']);
  assert.ok(connection.live);
});

test('comes back after a lost socket, each time later', async () => {
  await live();
  sockets[0].ends(1006);
  assert.deepEqual(seen.states.slice(2), ['waiting']);
  await clock.pass(249);
  assert.equal(sockets.length, 1);
  await clock.pass(1);
  assert.equal(sockets.length, 2);
  sockets[1].ends(1006);
  await clock.pass(499);
  assert.equal(sockets.length, 2);
  await clock.pass(1);
  assert.equal(sockets.length, 3);
});

test('failures are forgotten only once a socket has lasted', async () => {
  await live();
  for (const wait of [250, 500, 1000]) {
    sockets.at(-1).ends(4000);
    await clock.pass(wait);
    await greet();
  }
  assert.equal(sockets.length, 4);
  await clock.pass(10_000);
  sockets.at(-1).ends(4000);
  await clock.pass(250);
  assert.equal(sockets.length, 5);
});

test('waits as long as the server asks', async () => {
  await live();
  sockets[0].says({ type: 'error', code: 'too_fast', retry_after_ms: 5000 });
  sockets[0].ends(4429);
  await clock.pass(5000);
  assert.equal(sockets.length, 1);
  await clock.pass(250);
  assert.equal(sockets.length, 2);
});

test('an expired token is renewed before coming back', async () => {
  await live();
  sockets[0].ends(4401);
  await clock.pass(250);
  assert.deepEqual(seen.tokens, [false, true]);
});

test('a token that is refused twice ends the session', async () => {
  await live();
  for (let i = 0; i < 2; i += 1) {
    sockets.at(-1).ends(4503);
    await clock.pass(1000);
  }
  assert.equal(seen.signedOut, 'token_invalid');
  assert.equal(clock.waiting, 0);
});

for (const [code, reason] of [[4504, 'account_disabled'], [4505, 'session_ended']]) {
  test(`${code} ends the session`, async () => {
    await live();
    sockets[0].ends(code);
    await clock.pass(60_000);
    assert.equal(seen.signedOut, reason);
    assert.equal(sockets.length, 1);
  });
}

for (const code of [1009, 4500, 4502, 4509]) {
  test(`${code} stops until the person asks`, async () => {
    await live();
    sockets[0].ends(code);
    await clock.pass(600_000);
    assert.equal(sockets.length, 1);
    assert.equal(seen.states.at(-1), 'stopped');
    connection.again();
    await settled();
    assert.equal(sockets.length, 2);
  });
}

test('a session that is over is not asked for again', async () => {
  token = async () => {
    throw Object.assign(new Error(), { final: true, code: 'refresh_invalid' });
  };
  connection.start();
  await clock.pass(60_000);
  assert.equal(seen.signedOut, 'refresh_invalid');
  assert.equal(sockets.length, 0);
});

test('a token that cannot be had just now is asked for later', async () => {
  token = async () => {
    throw Object.assign(new Error(), { code: 'network' });
  };
  connection.start();
  await settled();
  assert.equal(seen.states.at(-1), 'waiting');
  token = async () => 't2';
  await clock.pass(250);
  assert.equal(sockets.length, 1);
});

test('asked to move, it opens the new socket before it lets go of the old', async () => {
  await live();
  sockets[0].says({ type: 'reconnect', after_ms: 1500 });
  await clock.pass(1500);
  assert.equal(sockets.length, 2);
  sockets[0].says({ type: 'pong' });
  assert.deepEqual(seen.frames, ['pong'], 'the old one still counts');
  assert.equal(sockets[0].closed, null);
  await greet();
  assert.equal(sockets[0].closed, 1000);
  sockets[0].says({ type: 'pong' });
  sockets[0].ends(1000);
  assert.deepEqual(seen.frames, ['pong'], 'and then no more');
  assert.ok(connection.live);
  assert.ok(!seen.states.includes('waiting'), 'nobody noticed');
});

test('a new socket that fails does not cost the old one', async () => {
  await live();
  sockets[0].says({ type: 'reconnect', after_ms: 0 });
  await clock.pass(0);
  sockets[1].ends(1006);
  assert.ok(connection.live);
  await clock.pass(250);
  assert.equal(sockets.length, 3);
});

test('the token is renewed in place, at three quarters of its life', async () => {
  await live();
  token = async () => 't2';
  for (let quiet = 0; quiet < 45; quiet += 1) {
    await clock.pass(10_000);
    sockets[0].says({ type: 'pong' });
  }
  assert.deepEqual(sockets[0].sent.at(-1), { type: 'auth', token: 't2' });
  assert.equal(sockets.length, 1);
});

test('a renewal that is refused is made good by a new greeting', async () => {
  await live();
  await clock.pass(20_000);
  sockets[0].says({ type: 'renewed', expires_in: 8 });
  await clock.pass(6_000);
  assert.equal(sockets[0].sent.at(-1).type, 'auth');
  sockets[0].says({ type: 'error', code: 'token_invalid' });
  await greet();
  assert.equal(sockets.length, 2);
  assert.equal(seen.welcomes, 2);
});

test('a silent socket is asked, and given up when it does not answer', async () => {
  await live();
  await clock.pass(25_000);
  assert.deepEqual(sockets[0].sent.at(-1), { type: 'ping' });
  await clock.pass(9_999);
  assert.ok(connection.live);
  await clock.pass(1);
  assert.ok(!connection.live);
  await clock.pass(250);
  assert.equal(sockets.length, 2);
});

test('a socket that never says welcome is given up', async () => {
  connection.start();
  await settled();
  sockets[0].opens();
  await clock.pass(10_250);
  assert.equal(sockets.length, 2);
});

test('a good moment cuts the wait short', async () => {
  await live();
  sockets[0].ends(1006);
  connection.hurry();
  await settled();
  assert.equal(sockets.length, 2);
  connection.hurry();
  await settled();
  assert.equal(sockets.length, 2, 'one at a time');
});

test('stopped is stopped', async () => {
  await live();
  connection.stop();
  sockets[0].ends(1006);
  await clock.pass(600_000);
  assert.equal(sockets.length, 1);
  assert.equal(clock.waiting, 0);
});
