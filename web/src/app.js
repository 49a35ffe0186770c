// The page of somebody who is signed in: puts the state, the connection and the views together.

import { Api } from './net/api.js';
import * as keep from './net/keep.js';
import { Chat } from './protocol/chat.js';
import { Connection } from './protocol/connection.js';
import { Announcer } from './ui/announcer.js';
import { Browse } from './ui/browse.js';
import { Composer } from './ui/composer.js';
import { Create } from './ui/create.js';
import { byId, dress, setText } from './ui/dom.js';
import { Log } from './ui/log.js';
import { Members } from './ui/members.js';
import { Room } from './ui/room.js';
import { Sidebar } from './ui/sidebar.js';
import { ask, Status, toast } from './ui/status.js';
import { wordsFor } from './ui/words.js';

const clock = {
  setTimeout: (work, ms) => setTimeout(work, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  now: () => Date.now(),
};
/** If the socket does not tell that we left by then, we go by the answer alone. */
const LEAVE_MS = 3000;

/** Everything between signing in and signing out. */
export class App {
  #session;
  #leave;
  #me;
  #api;
  #reads;
  #chat;
  #connection;
  #views;
  #outboxKey;
  #draftsKey;
  #keepTimer = null;
  #stop = new AbortController();

  /** `leave(reason)` is called once the session is over; a null reason: by the person's wish. */
  constructor(session, leave) {
    this.#session = session;
    this.#leave = leave;
    this.#me = session.user.username;
    this.#outboxKey = `banter.outbox.${session.user.id}`;
    this.#draftsKey = `banter.drafts.${session.user.id}`;
    this.#api = new Api(session);
    this.#reads = new keep.Reads(session.user.id);
    this.#chat = this.#makeChat();
    this.#connection = this.#makeConnection();
    this.#views = this.#makeViews();
    this.#listen();
    this.#chat.outbox.load(keep.get(keep.tab, this.#outboxKey, []));
    byId('app').hidden = false;
    dress(byId('me-avatar'), this.#me);
    setText(byId('me-name'), this.#me);
    this.#route();
    this.#connection.start();
  }

  #makeChat() {
    return new Chat({
      me: this.#me,
      api: this.#api,
      clock,
      random: Math.random,
      reads: this.#reads,
      send: (text) => this.#connection.send(text),
      on: {
        changed: (channel) => this.#changed(channel),
        applied: (channel, entry) => this.#applied(channel, entry),
        gone: (channel, entry) => this.#gone(channel, entry),
        refused: (frame) => toast(wordsFor(frame)),
      },
    });
  }

  #makeConnection() {
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
    const retry = (name) => () => {
      if (name === 'stopped') this.#connection.again();
      else this.#connection.hurry();
    };
    return new Connection({
      open: () => new WebSocket(`${scheme}//${location.host}/v1/connect`),
      token: (how) => this.#session.token(how),
      resume: () => this.#chat.positions(),
      clock,
      random: Math.random,
      on: {
        welcome: (frame) => {
          this.#chat.welcome(frame);
          this.#route();
        },
        frame: (frame) => this.#chat.receive(frame),
        state: (state) => this.#views.status.show(state, retry(state.name)),
        signedOut: (reason) => this.#close(reason),
      },
    });
  }

  #makeViews() {
    const chat = this.#chat;
    const log = new Log(chat, this.#me);
    const create = new Create((channel) => this.#create(channel));
    return {
      log,
      create,
      sidebar: new Sidebar(chat),
      status: new Status(),
      room: new Room(chat),
      composer: new Composer(chat, this.#draftsKey, () => log.toEnd()),
      announcer: new Announcer(),
      members: new Members(this.#api, this.#me),
      browse: new Browse(this.#api, chat, {
        join: (details) => this.#join(details),
        open: (id) => this.#open(id),
        create: (name) => create.open(name),
      }),
    };
  }

  #listen() {
    const { browse, create, members, composer } = this.#views;
    const on = { signal: this.#stop.signal };
    const click = (id, work) => byId(id).addEventListener('click', work, on);
    click('open-browse', () => browse.open());
    click('empty-browse', () => browse.open());
    click('open-create', () => create.open());
    click('empty-create', () => create.open());
    click('open-members', () => members.open(this.#chat.shown));
    click('leave', () => this.#leaveChannel(this.#chat.shown));
    click('log-out', () => this.#logOut());
    click('skip', () => composer.focus());
    addEventListener('hashchange', () => this.#route(), on);
    addEventListener('keydown', (event) => this.#pressed(event), on);
    addEventListener('online', () => this.#connection.hurry(), on);
    addEventListener('pagehide', () => this.#keep(), on);
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this.#connection.hurry();
    }, on);
    const untell = this.#reads.elsewhere((id, seq) => this.#chat.readElsewhere(id, seq));
    this.#stop.signal.addEventListener('abort', untell);
  }

  #changed(channel) {
    // The first changes come while the views are being made.
    if (!this.#views) return;
    const { log, sidebar, room } = this.#views;
    sidebar.refresh();
    if (channel === null || channel === this.#chat.shown) {
      log.refresh();
      room.refresh();
      if (this.#chat.shown) this.#views.composer.turnTo(this.#chat.shown, room.name);
    }
    this.#keepTimer ??= setTimeout(() => this.#keep(), 300);
  }

  // What was not sent outlives a reload of this tab, and nothing more than that.
  #keep() {
    clearTimeout(this.#keepTimer);
    this.#keepTimer = null;
    this.#reads.flush();
    const items = this.#chat.outbox.dump();
    if (items.length > 0) keep.put(keep.tab, this.#outboxKey, items);
    else keep.drop(keep.tab, this.#outboxKey);
  }

  #applied(channel, entry) {
    if (entry.type === 'joined' || entry.type === 'left') this.#views.members.changed(channel);
    const isNews = entry.type === 'message' && entry.author !== this.#me;
    if (isNews && channel === this.#chat.shown) this.#views.announcer.tell(entry);
  }

  #gone(channel, entry) {
    const name = channel.details?.name ?? 'the channel';
    if (entry?.by) toast(`${entry.by} removed you from ${name}.`);
    if (location.hash.startsWith(`#/c/${channel.id}`)) location.hash = '#/';
  }

  #route() {
    const [, id, seq] = location.hash.match(/^#\/c\/([0-9a-f-]{36})(?:\/(\d{1,16}))?$/) ?? [];
    const channel = this.#chat.channels.get(id) ?? null;
    if (!id && this.#chat.ready && this.#startSomewhere()) return;
    byId('app').dataset.pane = id ? 'room' : 'list';
    const { room, log, composer } = this.#views;
    const around = seq === undefined ? null : Number(seq);
    const turns = channel !== this.#chat.shown;
    if (turns) {
      this.#chat.show(channel, around);
      if (channel && around === null) keep.put(keep.browser, 'banter.last', id);
    }
    if (channel && around !== null) {
      log.toEntry(around);
      // The address has done its work; kept, it would pull back here on every return.
      history.replaceState(null, '', `#/c/${id}`);
    }
    room.route(id ?? null);
    this.#changed(null);
    // On a touch screen the keyboard would jump up over what one came to read.
    if (turns && channel && matchMedia('(hover: hover)').matches) composer.focus();
  }

  // Where both panes have room, an empty one greets only those who have no channel.
  #startSomewhere() {
    const last = keep.get(keep.browser, 'banter.last', null);
    if (this.#chat.shown || !matchMedia('(min-width: 721px)').matches) return false;
    if (!this.#chat.channels.has(last)) return false;
    history.replaceState(null, '', `#/c/${last}`);
    this.#route();
    return true;
  }

  #open(id) {
    if (location.hash === `#/c/${id}`) this.#route();
    else location.hash = `#/c/${id}`;
  }

  async #create(channel) {
    const details = await this.#api.create(channel);
    this.#chat.joined(details, { seq: details.seq, epoch: details.epoch });
    this.#open(details.id);
  }

  async #join(details) {
    const { seq, epoch } = await this.#api.join(details.id);
    this.#chat.joined(details, { seq, epoch });
  }

  async #leaveChannel(channel) {
    const { details } = channel;
    const back = details?.private ? 'You can come back only when a member adds you.'
      : 'You can join again at any time.';
    const owns = details?.owner === this.#me
      ? ' The member who has been here longest becomes the owner.' : '';
    const title = `Leave ${details?.name ?? 'this channel'}?`;
    if (!await ask({ title, text: back + owns, yes: 'Leave' })) return;
    try {
      await this.#api.leave(channel.id);
    } catch (error) {
      toast(wordsFor(error));
      return;
    }
    // Live, the entry that says so is the last one of the channel; it may still be on its way.
    const wait = this.#connection.live ? LEAVE_MS : 0;
    setTimeout(() => {
      if (this.#chat.channels.get(channel.id) === channel) this.#chat.left(channel.id);
    }, wait);
  }

  async #logOut() {
    const waiting = this.#chat.outbox.size;
    const text = `${waiting === 1 ? 'One message is' : `${waiting} messages are`} not sent yet.`;
    if (waiting > 0 && !await ask({ title: 'Log out?', text, yes: 'Log out' })) return;
    // The server ends the sockets of the session, and that of this tab is no news.
    this.#connection.stop();
    try {
      await this.#session.logout();
    } catch (error) {
      // The cookie is still there; the page must not pretend that it is not.
      this.#connection.start();
      toast(`You are not logged out. ${wordsFor(error)}`);
      return;
    }
    keep.drop(keep.tab, this.#draftsKey);
    this.#chat.outbox.clear();
    history.replaceState(null, '', '#/');
    this.#close(null);
  }

  #pressed(event) {
    if (document.querySelector('dialog[open]')) return;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      this.#views.browse.open();
    } else if (event.altKey && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) {
      event.preventDefault();
      const channel = this.#views.sidebar.beside(event.key === 'ArrowDown' ? 1 : -1);
      if (channel) this.#open(channel.id);
    } else if (event.key === 'Escape' && this.#chat.shown) {
      this.#views.log.toEnd();
      this.#views.composer.focus();
    }
  }

  #close(reason) {
    if (this.#stop.signal.aborted) return;
    this.#keep();
    this.#stop.abort();
    this.#connection.stop();
    for (const view of Object.values(this.#views)) view.close?.();
    for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
    byId('app').hidden = true;
    document.title = 'Banter';
    this.#session.forget();
    this.#leave(reason);
  }
}
