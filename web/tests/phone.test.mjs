// A phone: 360 pixels, a finger, and one pane at a time.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch, Person } from './support/people.mjs';
import { Server } from './support/server.mjs';

const PHONE = {
  viewport: { width: 360, height: 640 },
  isMobile: true,
  hasTouch: true,
  deviceScaleFactor: 2,
};

let server;
let browser;
let ada;
let grace;

before(async () => {
  server = await Server.start();
  browser = await launch();
  ada = await Person.arrive(browser, server, PHONE);
  grace = await server.account('grace');
});

after(async () => {
  await browser?.close();
  await server?.close();
});

async function fits() {
  const [wide, inner] = await ada.page.evaluate(() => [
    document.documentElement.scrollWidth, window.innerWidth,
  ]);
  assert.ok(wide <= inner, `${wide} pixels wide`);
  // Whatever can be pressed is big enough for a finger and inside the screen.
  const small = await ada.page.evaluate(() => [...document.querySelectorAll('button, a, input')]
    .filter((node) => node.checkVisibility() && !node.closest('.body, .by, label, .skip'))
    .filter((node) => !node.matches('.skip, .link, .when, [type="checkbox"]'))
    .map((node) => [node.id || node.className, node.getBoundingClientRect()])
    .filter(([, box]) => box.height < 32 || box.right > window.innerWidth + 1 || box.left < -1)
    .map(([name]) => name));
  assert.deepEqual(small, []);
}

test('signing in', async () => {
  await fits();
  await ada.register('ada');
  await fits();
});

test('one pane at a time, and a way back', async () => {
  const name = `a long name ${'that goes on '.repeat(5)}to the end`.slice(0, 80).trim();
  await ada.create(name, { topic: 'A topic that is longer than the line. '.repeat(6).trim() });
  await ada.page.locator('#side').waitFor({ state: 'hidden' });
  await fits();
  await ada.page.locator('#room-back').tap();
  await ada.page.locator('#side').waitFor();
  await ada.page.locator('#main').waitFor({ state: 'hidden' });
  await fits();
  await ada.page.locator('#channels a').tap();
  await ada.isIn(name);
  await ada.page.goBack();
  await ada.page.locator('#side').waitFor();
  await ada.page.locator('#channels a').tap();
  await ada.isIn(name);
});

test('talking, with words that do not fit in a line', async () => {
  const { items: [channel] } = await grace.call('GET', '/v1/channels');
  await grace.call('PUT', `/v1/channels/${channel.id}/subscription`);
  await grace.say(channel.id, 'W'.repeat(500));
  await grace.say(channel.id, `https://example.org/${'path/'.repeat(60)}`);
  await ada.reads('W'.repeat(500));
  await ada.page.locator('#text').fill('from the phone');
  await ada.page.locator('#send').tap();
  await ada.reads('from the phone');
  await fits();
});

test('dialogs', async () => {
  await ada.page.locator('#open-members').tap();
  await ada.page.locator('#members-list', { hasText: 'grace' }).waitFor();
  await fits();
  await ada.page.locator('#members [data-close]').first().tap();
  await ada.page.locator('#room-back').tap();
  await ada.page.locator('#open-browse').tap();
  await ada.page.locator('#browse-list li').first().waitFor();
  await fits();
  await ada.page.locator('#browse-create').tap();
  await fits();
  await ada.page.locator('#create [data-close]').first().tap();
});

test('nothing went wrong in the page', () => ada.leave());
