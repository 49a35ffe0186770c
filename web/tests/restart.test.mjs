// The server goes away and comes back: nobody misses anything, nothing comes twice.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch, Person } from './support/people.mjs';
import { Server } from './support/server.mjs';

let server;
let browser;
let ada;
let grace;

before(async () => {
  server = await Server.start();
  browser = await launch();
  ada = await Person.arrive(browser, server);
  grace = await Person.arrive(browser, server);
  await ada.register('ada');
  await ada.create('general');
  await grace.register('grace');
  await grace.join('general');
});

after(async () => {
  await browser?.close();
  await server?.close();
});

for (const signal of ['SIGKILL', 'SIGTERM']) {
  test(`a restart by ${signal}: what was written is read once and in order`, async () => {
    const text = (when) => `${signal} ${when}`;
    await ada.say(text('before'));
    await grace.reads(text('before'));
    await server.down(signal);
    await ada.page.locator('#status:not([hidden])').waitFor();
    await ada.say(text('during 1'));
    await ada.say(text('during 2'));
    await ada.page.locator('.pending').nth(1).waitFor();
    await server.up();
    for (const person of [ada, grace]) {
      await person.connected();
      await person.reads(text('during 2'));
      assert.equal(await person.page.locator('#status').isVisible(), false);
    }
    await grace.say(text('after'));
    await ada.reads(text('after'));
    const expected = ['before', 'during 1', 'during 2', 'after'].map(text);
    for (const person of [ada, grace]) {
      const mine = (await person.messages()).filter((message) => message.startsWith(signal));
      assert.deepEqual(mine, expected);
    }
  });
}

test('what was not sent outlives a reload', async () => {
  await server.down();
  await ada.page.locator('#status:not([hidden])').waitFor();
  await ada.say('kept over the reload');
  await ada.page.locator('.pending').waitFor();
  await server.up();
  await ada.page.reload();
  await grace.reads('kept over the reload');
  await ada.reads('kept over the reload');
  assert.equal((await ada.messages()).filter((text) => text === 'kept over the reload').length, 1);
});

test('who was away reads what was said, and finds the first new message', async () => {
  const linus = await server.account('linus');
  const { items: [{ id }] } = await linus.call('GET', '/v1/channels?name=general');
  await linus.call('PUT', `/v1/channels/${id}/subscription`);
  await ada.page.goto('about:blank');
  for (let i = 1; i <= 150; i += 1) await linus.say(id, `while away ${i}`);
  await ada.page.goto(`${server.origin}/`);
  await ada.isIn('general');
  await ada.reads('while away 150');
  await ada.page.locator('#to-unread').click();
  await ada.page.locator('.new-line').waitFor();
  await ada.reads('while away 1');
  await ada.page.locator('#to-latest').click();
  await ada.reads('while away 150');
});

test('reading back to the beginning keeps the page small and the place', async () => {
  const linus = await server.account('linus2');
  const channel = await linus.call('POST', '/v1/channels', { name: 'long' });
  for (let i = 1; i <= 600; i += 1) await linus.say(channel.id, `line ${i}`);
  await ada.join('long');
  await ada.reads('line 600');
  const { page } = ada;
  const moved = await page.locator('#log').evaluate(async (log) => {
    const list = document.getElementById('entries');
    const { seq } = list.firstElementChild.dataset;
    log.scrollTop = 300;
    const place = log.getBoundingClientRect().top;
    const row = [...list.children].find((item) => item.getBoundingClientRect().bottom > place);
    const before = row.getBoundingClientRect().top;
    while (list.firstElementChild.dataset.seq === seq) await new Promise(requestAnimationFrame);
    return row.getBoundingClientRect().top - before;
  });
  assert.ok(Math.abs(moved) < 3, `what one read moved by ${moved} pixels`);
  for (let turn = 0; turn < 60; turn += 1) {
    await page.locator('#log').evaluate((log) => {
      log.scrollTop = 0;
    });
    await page.waitForTimeout(50);
    assert.ok(await page.locator('#entries > li').count() <= 400);
    if (await page.locator('.log-start').isVisible()) break;
  }
  await ada.reads('line 1');
  // Nothing is skipped on the way: the numbers in the page are one run.
  const lines = (await ada.messages()).map((text) => Number(text.split(' ')[1]));
  assert.deepEqual(lines, lines.map((_, i) => i + 1));
  await linus.say(channel.id, 'line 601');
  await page.locator('#to-latest', { hasText: '1 new message' }).waitFor();
  await page.locator('#to-latest').click();
  await ada.reads('line 601');
});

test('nothing went wrong in either page', async () => {
  await ada.leave();
  await grace.leave();
});
