// The window on a channel: never a hole, never unbounded, never a lie about what lies beyond.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Timeline } from '../../src/protocol/timeline.js';
import { entry, page, seeded } from './world.mjs';

const ROOM = 'c';
const entries = (count) => Array.from({ length: count }, (_, i) => entry(ROOM, i + 1));
const seqs = (timeline) => timeline.entries.map(({ seq }) => seq);

function isWhole(timeline, max) {
  const list = seqs(timeline);
  for (let i = 1; i < list.length; i += 1) assert.equal(list[i], list[i - 1] + 1);
  assert.ok(list.length <= max, `${list.length} entries`);
}

test('reading back drops the far end and says so', () => {
  const all = entries(100);
  const timeline = new Timeline(30);
  timeline.replace(page(all, { limit: 20 }));
  assert.deepEqual([timeline.first, timeline.last], [81, 100]);
  assert.ok(timeline.hasOlder && !timeline.hasNewer);
  assert.ok(timeline.prepend(page(all, { before: 81, limit: 20 })));
  assert.deepEqual([timeline.first, timeline.last], [61, 90]);
  assert.ok(timeline.hasNewer);
  timeline.live(entry(ROOM, 101), true);
  assert.equal(timeline.last, 90, 'a live entry does not fit after a dropped end');
  assert.ok(timeline.append(page(all, { after: 90, limit: 20 })));
  assert.deepEqual([timeline.first, timeline.last], [71, 100]);
});

test('whoever reads back keeps the place, and the window stops growing', () => {
  const timeline = new Timeline(10);
  timeline.replace(page(entries(10), { limit: 10 }));
  timeline.live(entry(ROOM, 11), false);
  assert.deepEqual([timeline.first, timeline.last, timeline.hasNewer], [1, 10, true]);
});

test('whoever is at the end follows it', () => {
  const timeline = new Timeline(10);
  timeline.replace(page(entries(10), { limit: 10 }));
  timeline.live(entry(ROOM, 11), true);
  timeline.live(entry(ROOM, 11), true);
  assert.deepEqual([timeline.first, timeline.last, timeline.hasNewer], [2, 11, false]);
});

test('what arrives while the page is under way is not lost', () => {
  const timeline = new Timeline();
  timeline.expect();
  timeline.live(entry(ROOM, 11), true);
  timeline.live(entry(ROOM, 12), true);
  timeline.replace(page(entries(10), { limit: 5 }));
  assert.deepEqual(seqs(timeline), [6, 7, 8, 9, 10, 11, 12]);
  assert.equal(timeline.hasNewer, false);
});

test('a page with a hole before it is refused', () => {
  const timeline = new Timeline();
  timeline.replace({ items: [entry(ROOM, 9)], has_older: true, has_newer: true });
  assert.equal(timeline.append({ items: [entry(ROOM, 11)], has_newer: false }), false);
  assert.equal(timeline.prepend({ items: [entry(ROOM, 7)], has_older: true }), false);
  assert.deepEqual(seqs(timeline), [9]);
});

test('an incomplete page says that there is more', () => {
  const timeline = new Timeline();
  timeline.replace({ ...page(entries(3), { limit: 5 }), complete: false });
  assert.equal(timeline.hasNewer, true);
});

test('any course of reading keeps the window whole and bounded', () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const random = seeded(seed);
    const all = entries(1 + Math.floor(random() * 80));
    const timeline = new Timeline(25);
    timeline.replace(page(all, { limit: 10 }));
    for (let step = 0; step < 60; step += 1) {
      const dice = random();
      if (dice < 0.3) {
        all.push(entry(ROOM, all.length + 1));
        timeline.live(all.at(-1), random() < 0.5);
      } else if (dice < 0.6 && timeline.hasOlder) {
        timeline.prepend(page(all, { before: timeline.first, limit: 10 }));
      } else if (dice < 0.8 && timeline.hasNewer) {
        timeline.append(page(all, { after: timeline.last, limit: 10 }));
      } else if (dice < 0.9) {
        const around = 1 + Math.floor(random() * all.length);
        timeline.replace(page(all, { around, limit: 10 }));
      }
      isWhole(timeline, 25);
      assert.equal(timeline.hasOlder, timeline.first > 1, `older, seed ${seed}`);
      assert.equal(timeline.hasNewer, timeline.last < all.length, `newer, seed ${seed}`);
    }
  }
});
