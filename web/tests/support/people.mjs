// People in browsers: each in a context of their own, doing what a person would do.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';

import { chromium } from 'playwright-core';

import { PASSWORD } from './server.mjs';

/** Where distributions put it; `BANTER_CHROMIUM` names any other place. */
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
/** Without these it looks up and calls its maker's hosts, which slows every start. */
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
/**
 * How long anything may take to show before the test fails: after some restarts in a row a page
 * rightly waits for many seconds before it tries again, and the machine may be busy.
 */
const PATIENCE_MS = 40_000;
/** Refusals that a test provokes are written to the console by the browser itself. */
const EXPECTED = /Failed to load resource|WebSocket connection to .* failed/;

/** Starts a browser. */
export function launch() {
  const executablePath = process.env.BANTER_CHROMIUM ?? PLACES.find((place) => existsSync(place));
  if (!executablePath) throw new Error('no Chromium here; BANTER_CHROMIUM may name one');
  return chromium.launch({ executablePath, args: FLAGS });
}

/** Somebody in front of the page. */
export class Person {
  /** What went wrong in the page, and must not have. */
  troubles = [];

  /** Opens the page in a new context with these options. */
  static async arrive(browser, server, options = {}) {
    const person = new Person();
    const viewport = { width: 1100, height: 700 };
    person.context = await browser.newContext({ viewport, ...options });
    person.context.setDefaultTimeout(PATIENCE_MS);
    person.server = server;
    await person.openTab();
    return person;
  }

  /** Opens the page in another tab, which becomes the one that is used. */
  async openTab(path = '/') {
    const { server } = this;
    const page = await this.context.newPage();
    this.page = page;
    page.on('pageerror', (error) => this.troubles.push(`error: ${error.stack}`));
    page.on('console', (message) => {
      const bad = message.type() === 'error' && !EXPECTED.test(message.text());
      if (bad) this.troubles.push(`console: ${message.text()}`);
    });
    page.on('dialog', (dialog) => {
      this.troubles.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(server.origin)) this.troubles.push(`asks ${request.url()}`);
    });
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    await page.goto(server.origin + path);
  }

  /** Makes an account. */
  async register(username) {
    this.username = username;
    await this.page.getByRole('button', { name: 'Create an account' }).click();
    await this.#sign(username, 'Create account');
    await this.connected();
  }

  /** Logs in. */
  async logIn(username, password = PASSWORD) {
    this.username = username;
    await this.#sign(username, 'Log in', password);
  }

  async #sign(username, button, password = PASSWORD) {
    await this.page.locator('#sign-name').fill(username);
    await this.page.locator('#sign-password').fill(password);
    await this.page.getByRole('button', { name: button, exact: true }).click();
  }

  /** Returns once the page is connected. */
  async connected() {
    await this.sees('#me-state', 'Connected');
  }

  /** Makes a channel and is in it. */
  async create(name, { topic = '', isPrivate = false } = {}) {
    const { page } = this;
    await page.locator('#open-create').click();
    await page.locator('#create-name').fill(name);
    await page.locator('#create-topic').fill(topic);
    if (isPrivate) await page.locator('#create-private').check();
    await page.locator('#create-go').click();
    await this.isIn(name);
  }

  /** Finds a channel and joins it. */
  async join(name) {
    const { page } = this;
    await page.locator('#open-browse').click();
    await page.locator('#browse-filter').fill(name);
    await page.getByRole('button', { name: `Join ${name}`, exact: true }).click();
    await this.isIn(name);
  }

  /** Goes to a channel of the list. */
  async open(name) {
    await this.page.locator('#channels a').filter({ hasText: name }).click();
    await this.isIn(name);
  }

  /** Returns once this channel is shown. */
  async isIn(name) {
    await this.sees('#room-name', name);
  }

  /** Writes a message and presses Enter. */
  async say(text) {
    await this.page.locator('#text').fill(text);
    await this.page.locator('#text').press('Enter');
  }

  /** Returns once the first such element has exactly this text. */
  async sees(selector, text) {
    await this.page.waitForFunction(([where, wanted]) => {
      const node = document.querySelector(where);
      return node && node.checkVisibility() && node.textContent === wanted;
    }, [selector, text]);
  }

  /** Returns once a message with this text is in the log and is no longer waiting. */
  async reads(text) {
    await this.page.waitForFunction((wanted) => [...document.querySelectorAll('[data-seq] .body')]
      .some((body) => body.textContent === wanted), text);
  }

  /** The texts of the log, in order. */
  messages() {
    return this.page.locator('#entries .body').allTextContents();
  }

  /** Nothing went wrong in the page; then it is closed. */
  async leave() {
    assert.deepEqual(this.troubles, []);
    await this.context.close();
  }
}
