// Two people in two browsers: what a conversation needs.

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
});

after(async () => {
  await browser?.close();
  await server?.close();
});

test('a wrong password is told, a new account is made', async () => {
  await ada.logIn('ada', 'not the password');
  await ada.sees('#sign-error', 'The username or the password is wrong.');
  await ada.register('ada');
  await ada.sees('#empty-title', 'Welcome to Banter');
  await grace.register('grace');
});

test('a taken name and a weak password are told', async () => {
  const other = await Person.arrive(browser, server);
  await other.page.getByRole('button', { name: 'Create an account' }).click();
  await other.page.locator('#sign-name').fill('ada');
  await other.page.locator('#sign-password').fill('short');
  await other.page.locator('#sign-go').click();
  await other.page.locator('#sign-error:not([hidden])').waitFor();
  assert.match(await other.page.locator('#sign-error').textContent(), /8 characters/);
  await other.page.locator('#sign-password').fill('long enough for anyone');
  await other.page.locator('#sign-go').click();
  await other.sees('#sign-error', 'Somebody has this username. Choose another.');
  await other.leave();
});

test('one makes a channel, the other finds it, and both see each other come', async () => {
  await ada.create('general', { topic: 'Everything else' });
  await ada.sees('#room-topic', 'Everything else');
  await grace.join('general');
  for (const person of [ada, grace]) {
    const event = person === ada ? 'grace joined' : 'You joined';
    await person.page.locator('.event', { hasText: event }).waitFor();
  }
});

test('a taken channel name is told', async () => {
  await grace.page.locator('#open-create').click();
  await grace.page.locator('#create-name').fill('General');
  await grace.page.locator('#create-go').click();
  await grace.page.locator('#create-error:not([hidden])').waitFor();
  assert.match(await grace.page.locator('#create-error').textContent(), /channel with this name/);
  await grace.page.keyboard.press('Escape');
});

test('what one says the other reads, in order, once', async () => {
  await ada.say('Hello Grace');
  await grace.reads('Hello Grace');
  await grace.say('Hello Ada\nsecond line');
  await ada.reads('Hello Ada\nsecond line');
  for (let i = 0; i < 5; i += 1) await ada.say(`number ${i}`);
  await grace.reads('number 4');
  const numbers = [0, 1, 2, 3, 4].map((i) => `number ${i}`);
  const expected = ['Hello Grace', 'Hello Ada\nsecond line', ...numbers];
  assert.deepEqual(await grace.messages(), expected);
  await ada.reads('number 4');
  assert.deepEqual(await ada.messages(), expected);
  assert.equal(await ada.page.locator('.pending, .failed').count(), 0);
});

test('Shift and Enter starts a line, Enter alone sends, white space alone does not', async () => {
  const box = ada.page.locator('#text');
  await box.fill('first');
  await box.press('Shift+Enter');
  await box.pressSequentially('second');
  await box.press('Enter');
  await grace.reads('first\nsecond');
  await box.fill('  \n ');
  await box.press('Enter');
  assert.equal(await box.inputValue(), '  \n ');
  await box.fill('');
});

test('a message over the limit is not sent, and says so', async () => {
  const box = ada.page.locator('#text');
  await box.fill('é'.repeat(8193));
  await ada.sees('#composer-note', 'This is 2 bytes too long to send.');
  await box.press('Enter');
  await box.fill('é'.repeat(8192));
  await box.press('Enter');
  await grace.reads('é'.repeat(8192));
});

test('messages of others are read out, once and as text', async () => {
  await ada.say('please announce <b>this</b>');
  const said = grace.page.locator('#announcer p', { hasText: 'please announce' });
  await said.waitFor({ state: 'attached' });
  assert.equal(await said.textContent(), 'ada: please announce <b>this</b>');
  assert.equal(await said.count(), 1);
});

test('what comes in elsewhere counts as unread, until it is looked at', async () => {
  await grace.create('elsewhere');
  await ada.say('one');
  await ada.say('two');
  await grace.sees('#channels a.news .badge', '2');
  await grace.page.waitForFunction(() => document.title.startsWith('(2) '));
  await grace.open('general');
  await grace.page.locator('.new-line').waitFor();
  await grace.page.waitForFunction(() => !document.querySelector('#channels a.news'));
});

test('a reload keeps the session, the channel and the draft', async () => {
  await ada.page.locator('#text').fill('half a thought');
  await ada.page.reload();
  await ada.connected();
  await ada.isIn('general');
  await ada.reads('two');
  assert.equal(await ada.page.locator('#text').inputValue(), 'half a thought');
  await ada.page.locator('#text').fill('');
  const kept = await ada.page.evaluate(() => JSON.stringify(
    [{ ...localStorage }, { ...sessionStorage }]));
  assert.doesNotMatch(kept, /eyJ/, 'no token is kept where scripts can read it');
});

test('a private channel is seen only by those who are added', async () => {
  await ada.create('secret plans', { isPrivate: true });
  await grace.page.locator('#open-browse').click();
  await grace.page.locator('#browse-filter').fill('secret');
  await grace.page.locator('#browse-note', { hasText: 'No channel matches' }).waitFor();
  await grace.page.keyboard.press('Escape');
  await ada.page.locator('#open-members').click();
  await ada.page.locator('#members-name').fill('nobody-here');
  await ada.page.getByRole('button', { name: 'Add', exact: true }).click();
  await ada.sees('#members-error', 'Nobody has this username.');
  await ada.page.locator('#members-name').fill('grace');
  await ada.page.getByRole('button', { name: 'Add', exact: true }).click();
  await ada.page.locator('#members-list', { hasText: 'grace' }).waitFor();
  await grace.open('secret plans');
});

test('who is removed is told, and is out', async () => {
  await ada.page.getByRole('button', { name: 'Remove grace' }).click();
  await ada.page.locator('#ask-yes').click();
  await grace.page.locator('.toast', { hasText: 'ada removed you from secret plans' }).waitFor();
  assert.equal(await grace.page.locator('#channels a', { hasText: 'secret plans' }).count(), 0);
  await ada.page.keyboard.press('Escape');
  await ada.page.locator('.event', { hasText: 'grace removed by You' }).waitFor();
});

test('leaving takes a channel off the list', async () => {
  await grace.open('elsewhere');
  await grace.page.locator('#leave').click();
  await grace.page.locator('#ask-yes').click();
  await grace.page.waitForFunction(() => !document.querySelector('#channels').textContent
    .includes('elsewhere'));
  await grace.sees('#empty-title', 'Choose a channel');
});

test('everything can be done with the keyboard', async () => {
  const { page } = grace;
  await page.keyboard.press('Control+k');
  await page.keyboard.type('general');
  await page.getByRole('button', { name: 'Open general' }).waitFor();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Enter');
  await grace.isIn('general');
  await page.waitForFunction(() => document.activeElement.id === 'text');
  await page.keyboard.type('typed');
  await page.keyboard.press('Enter');
  await grace.reads('typed');
});

test('logging out ends every tab of the session', async () => {
  const first = grace.page;
  await grace.openTab();
  await grace.connected();
  await grace.page.locator('#log-out').click();
  await grace.page.locator('#front').waitFor();
  await first.locator('#front').waitFor();
  await grace.page.reload();
  await grace.page.locator('#front').waitFor();
  await grace.logIn('grace');
  await grace.connected();
});

test('nothing went wrong in either page', async () => {
  await ada.leave();
  await grace.leave();
});
