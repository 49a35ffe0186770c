// What was written is sent until it is safe, in order, under its id.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Outbox } from '../../src/protocol/outbox.js';

const put = (outbox, id, channel = 'c') => outbox.add({ id, channel, body: `text ${id}`, at: 0 });
const due = (outbox, now = 0, max) => outbox.due(now, max).items.map(({ id }) => id);
const ack = (id, seq, level = 'stored') => ({ id, channel: 'c', seq, epoch: 1, level });

function sendAll(outbox, now = 0) {
  for (const item of outbox.due(now).items) item.sent = true;
}

test('an acknowledged message stays until its entry was seen', () => {
  const outbox = new Outbox();
  put(outbox, 'a');
  sendAll(outbox);
  outbox.ack(ack('a', 7));
  assert.equal(outbox.size, 0);
  assert.deepEqual(outbox.unseen('c').map(({ id, state }) => [id, state]), [['a', 'stored']]);
  outbox.sawEntry({ id: 'a' });
  assert.deepEqual(outbox.unseen('c'), []);
});

test('the entry may come before the acknowledgement', () => {
  const outbox = new Outbox();
  put(outbox, 'a');
  outbox.sawEntry({ id: 'a' });
  assert.deepEqual(outbox.unseen('c'), []);
  assert.equal(outbox.size, 1, 'but it is not known to be stored');
  outbox.ack(ack('a', 7));
  assert.equal(outbox.discard('a'), null, 'nothing of it is kept');
});

test('an entry that was passed over does not keep its message waiting', () => {
  const outbox = new Outbox();
  put(outbox, 'a');
  outbox.ack(ack('a', 7));
  outbox.settle('c', 6);
  assert.equal(outbox.unseen('c').length, 1);
  outbox.settle('c', 7);
  assert.equal(outbox.unseen('c').length, 0);
});

test('queued is not safe: `stored` of the same epoch is', () => {
  const outbox = new Outbox();
  for (const [id, seq] of [['a', 5], ['b', 6]]) {
    put(outbox, id);
    outbox.ack(ack(id, seq, 'queued'));
  }
  outbox.stored({ channel: 'c', seq: 9, epoch: 2 });
  outbox.stored({ channel: 'other', seq: 9, epoch: 1 });
  assert.equal(outbox.size, 2);
  outbox.stored({ channel: 'c', seq: 5, epoch: 1 });
  assert.equal(outbox.size, 1);
});

test('a new socket gets everything that is not stored, in order', () => {
  const outbox = new Outbox();
  for (const id of ['a', 'b', 'c', 'd']) put(outbox, id);
  sendAll(outbox);
  assert.deepEqual(due(outbox), []);
  outbox.ack(ack('a', 1, 'queued'));
  outbox.ack(ack('b', 2));
  outbox.refuse({ id: 'c', code: 'body_invalid', message: 'no' }, 0);
  outbox.reconnected();
  assert.deepEqual(due(outbox), ['a', 'd']);
});

test('`resend` takes back every acknowledgement that was not of a stored message', () => {
  const outbox = new Outbox();
  for (const id of ['a', 'b']) put(outbox, id);
  sendAll(outbox);
  outbox.ack(ack('a', 1, 'queued'));
  outbox.sawEntry({ id: 'a' });
  outbox.ack(ack('b', 2));
  outbox.resend();
  assert.deepEqual(due(outbox), ['a']);
  assert.deepEqual(outbox.unseen('c').map(({ id }) => id), ['a', 'b']);
});

test('a refusal that may pass holds the channel back, and no other', () => {
  const outbox = new Outbox();
  put(outbox, 'a');
  sendAll(outbox);
  put(outbox, 'b');
  put(outbox, 'x', 'other');
  outbox.refuse({ id: 'a', code: 'slow_down', retry_after_ms: 250 }, 1000);
  assert.deepEqual(due(outbox, 1000), ['x']);
  assert.equal(outbox.due(1000).wakeAt, 1250);
  assert.deepEqual(due(outbox, 1250), ['a', 'b', 'x']);
});

test('a refusal for good is kept, and can be tried again or given up', () => {
  const outbox = new Outbox();
  put(outbox, 'a');
  sendAll(outbox);
  outbox.refuse({ id: 'a', code: 'not_a_member', message: 'no' }, 0);
  assert.equal(outbox.unseen('c')[0].failure.code, 'not_a_member');
  assert.deepEqual(due(outbox), []);
  outbox.retry('a');
  assert.deepEqual(due(outbox), ['a']);
  outbox.discard('a');
  assert.equal(outbox.size, 0);
});

test('bursts are bounded, and so is the whole', () => {
  const outbox = new Outbox();
  for (let i = 0; i < 1000; i += 1) assert.ok(put(outbox, `m${i}`));
  assert.equal(put(outbox, 'more'), null);
  const burst = outbox.due(0);
  assert.equal(burst.items.length, 200);
  assert.ok(burst.more);
});

test('a reload of the page forgets nothing that was not stored', () => {
  const before = new Outbox();
  for (const id of ['a', 'b', 'c']) put(before, id);
  before.ack(ack('a', 1));
  before.ack(ack('b', 2, 'queued'));
  before.refuse({ id: 'c', code: 'not_a_member', message: 'no' }, 0);
  const after = new Outbox();
  after.load(JSON.parse(JSON.stringify(before.dump())));
  assert.deepEqual(due(after), ['b']);
  assert.deepEqual(after.unseen('c').map(({ id, state }) => [id, state]),
    [['b', 'pending'], ['c', 'failed']]);
});
