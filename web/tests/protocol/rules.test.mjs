// The small rules: order, waiting, closing, ids, texts.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Backoff } from '../../src/protocol/backoff.js';
import { byteLength, refusal, wellFormed } from '../../src/protocol/body.js';
import { afterClose } from '../../src/protocol/closes.js';
import { Sequence } from '../../src/protocol/sequence.js';
import { uuidv7 } from '../../src/protocol/uuid.js';

test('each entry is applied once and in order', () => {
  const sequence = new Sequence({ seq: 4, epoch: 1 });
  const steps = [6, 5, 5, 1, 6].map((seq) => sequence.accept({ seq, epoch: 1 }));
  assert.deepEqual(steps, ['gap', 'apply', 'repeat', 'repeat', 'apply']);
  assert.deepEqual(sequence.position, { seq: 6, epoch: 1 });
});

test('the wait is drawn from the whole range, which doubles up to a cap', () => {
  const longest = new Backoff({ base: 100, cap: 1000, random: () => 0.9999 });
  assert.deepEqual([1, 2, 3, 4, 5, 6].map(() => longest.next()), [99, 199, 399, 799, 999, 999]);
  longest.reset();
  assert.equal(longest.next(), 99);
  const shortest = new Backoff({ base: 100, cap: 1000, random: () => 0 });
  assert.deepEqual([shortest.next(), shortest.next()], [0, 0]);
});

test('a close tells whether to come back', () => {
  for (const code of [1000, 1001, 1005, 1006, 1011, 4000, 4001, 4408, 4410, 4411, 4429, 4499]) {
    assert.equal(afterClose(code), 'resume', `${code}`);
  }
  for (const code of [1002, 1003, 1007, 1009, 4500, 4501, 4502, 4509, 4777, 4999]) {
    assert.equal(afterClose(code), 'stop', `${code}`);
  }
  assert.equal(afterClose(4401), 'renew');
  assert.equal(afterClose(4503), 'renew');
  assert.equal(afterClose(4504), 'signed_out');
  assert.equal(afterClose(4505), 'signed_out');
});

test('ids are version 7 UUIDs that carry the time', () => {
  const id = uuidv7(0x0123456789ab);
  assert.match(id, /^01234567-89ab-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const many = new Set(Array.from({ length: 1000 }, () => uuidv7(Date.now())));
  assert.equal(many.size, 1000);
});

test('a text is measured in bytes, and half an emoji does not cost the socket', () => {
  assert.equal(byteLength('é漢👋'), 2 + 3 + 4);
  assert.equal(wellFormed('a\ud83db\udc4bc👋'), 'a\ufffdb\ufffdc👋');
  assert.equal(wellFormed('👋👋'), '👋👋');
  assert.equal(refusal(' \n\t'), 'blank');
  assert.equal(refusal('a\0b'), 'zero');
  assert.equal(refusal('x'.repeat(16_384)), null);
  assert.equal(refusal('é'.repeat(8_193)), 'too_long');
});
