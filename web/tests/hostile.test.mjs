// Whatever people type stays text, wherever it is shown.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch, Person } from './support/people.mjs';
import { Server } from './support/server.mjs';

const ATTACKS = [
  '<img src=x onerror="window.hacked=1">',
  '<script>window.hacked=1</script>',
  '"><svg onload="window.hacked=1">',
  '\'"--></style></script><script>window.hacked=1</script>',
  '<iframe srcdoc="<script>parent.hacked=1</script>"></iframe>',
  '<a href="javascript:window.hacked=1">x</a>',
  'javascript:window.hacked=1',
  'http://x/"onmouseover="window.hacked=1',
  'https://example.org/<img/src=x/onerror=window.hacked=1>',
  '<template shadowrootmode=open><script>window.hacked=1</script></template>',
  '<form><input name=attributes><input name=nextSibling></form>',
  '{{constructor.constructor("window.hacked=1")()}} ${window.hacked=1}',
  '&lt;b&gt; &amp;amp; &#x3c;script&#x3e;',
  '\u202eright to left\u2066 \u200f \u0007bell',
];
/** Control characters are refused in names, so that one stays a message. */
const NAMES = ATTACKS.filter((text) => !text.includes('\u0007') && text.length <= 80);

let server;
let browser;
let mallory;
let ada;
let general;

before(async () => {
  server = await Server.start();
  browser = await launch();
  mallory = await server.account('mallory');
  general = await mallory.call('POST', '/v1/channels', { name: 'general' });
  ada = await Person.arrive(browser, server);
  await ada.register('ada');
  await ada.join('general');
});

after(async () => {
  await browser?.close();
  await server?.close();
});

// The page's own parts are made by its scripts; none of these is ever among them.
async function isUnharmed(person) {
  const { page } = person;
  const found = await page.evaluate(() => ({
    hacked: window.hacked ?? null,
    foreign: document.querySelectorAll('iframe, form form, img[src="x"], dialog img, body script, '
      + 'body style, template, object, embed').length,
    links: [...document.querySelectorAll('.body a')].map((link) => link.href),
    handlers: [...document.querySelectorAll('*')].filter((node) => [...node.attributes]
      .some(({ name }) => name.startsWith('on') || name === 'style' && node.id !== 'text')).length,
  }));
  assert.equal(found.hacked, null);
  assert.equal(found.foreign, 0);
  assert.equal(found.handlers, 0);
  for (const href of found.links) assert.match(href, /^https?:\/\//);
  assert.deepEqual(person.troubles, []);
}

test('messages', async () => {
  for (const text of ATTACKS) {
    await mallory.say(general.id, text);
    await ada.reads(text);
  }
  await isUnharmed(ada);
  await ada.page.reload();
  await ada.reads(ATTACKS.at(-1));
  const all = await ada.messages();
  assert.deepEqual(all, ATTACKS);
  await isUnharmed(ada);
});

test('one\'s own messages, while they wait too', async () => {
  for (const text of ATTACKS) {
    await ada.say(text);
    await isUnharmed(ada);
  }
  await ada.page.waitForFunction(() => document.querySelectorAll('.pending').length === 0);
  await isUnharmed(ada);
});

test('names and topics of channels: list, head, search, members, title', async () => {
  for (const name of NAMES) {
    await mallory.call('POST', '/v1/channels', { name, topic: `topic ${name}` });
  }
  for (const name of NAMES) {
    await ada.join(name);
    await ada.sees('#room-topic', `topic ${name}`);
    await ada.page.locator('#open-members').click();
    await ada.sees('#members-title', `Members of ${name}`);
    await ada.page.keyboard.press('Escape');
    assert.ok((await ada.page.title()).includes(name.trim().slice(0, 10)));
  }
  await isUnharmed(ada);
});

test('what is typed into the page\'s own fields', async () => {
  const { page } = ada;
  for (const text of ATTACKS.slice(0, 6)) {
    await page.locator('#open-create').click();
    await page.locator('#create-name').fill(`own ${text}`.slice(0, 80));
    await page.locator('#create-topic').fill(text);
    await page.locator('#create-go').click();
    await ada.isIn(`own ${text}`.slice(0, 80));
    await page.locator('#open-members').click();
    await page.locator('#members-name').fill(text);
    await page.locator('#members-add button').click();
    // A public channel's owner may add; nobody has such a name.
    await page.locator('#members-error:not([hidden])').waitFor();
    await page.keyboard.press('Escape');
  }
  await isUnharmed(ada);
});

test('the address', async () => {
  for (const text of ATTACKS) {
    await ada.page.goto(`${server.origin}/#/c/${text}`);
    await ada.page.goto(`${server.origin}/#${text}`);
  }
  await ada.page.reload();
  await ada.connected();
  await isUnharmed(ada);
});

test('a username cannot carry one', async () => {
  const eve = await Person.arrive(browser, server);
  await eve.page.getByRole('button', { name: 'Create an account' }).click();
  for (const text of ATTACKS.slice(0, 4)) {
    await eve.page.locator('#sign-name').evaluate((input) => input.removeAttribute('maxlength'));
    await eve.page.locator('#sign-name').fill(text);
    await eve.page.locator('#sign-password').fill('correct horse battery');
    await eve.page.locator('#sign-go').click();
    await eve.page.locator('#sign-error', { hasText: 'A username has' }).waitFor();
  }
  await isUnharmed(eve);
  await eve.leave();
});

test('the policy stops what should ever get through', async () => {
  const eve = await Person.arrive(browser, server);
  await eve.page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'window.hacked = 1';
    document.body.append(script);
    const image = document.createElement('img');
    image.setAttribute('onerror', 'window.hacked = 1');
    image.src = '/nothing-here';
    document.body.append(image);
  });
  await eve.page.waitForTimeout(300);
  assert.equal(await eve.page.evaluate(() => window.hacked ?? null), null);
  assert.ok(eve.troubles.some((trouble) => trouble.includes('policy: script-src')));
  eve.troubles.length = 0;
  await eve.leave();
});

test('nothing went wrong in the page', () => ada.leave());
