// Finding a channel: all that one may see, narrowed by what is typed.

import { byId, el, icon, openDialog, say, setText } from './dom.js';
import { wordsFor } from './words.js';

/** Rows shown at most; who wants more types more. */
const ROWS_MAX = 200;
/** Pages read without being asked, when something is typed. */
const PAGES_AT_ONCE = 5;
const TYPING_MS = 200;

/** The dialog. `act` has `join(details)` and `open(id)`, both promises, and `create(name)`. */
export class Browse {
  #api;
  #chat;
  #act;
  #found = new Map();
  #next = null;
  #filter = '';
  #timer = null;
  // Counts openings and searches: late answers of earlier ones are dropped.
  #round = 0;
  #stop = new AbortController();

  constructor(api, chat, act) {
    this.#api = api;
    this.#chat = chat;
    this.#act = act;
    const on = { signal: this.#stop.signal };
    byId('browse-filter').addEventListener('input', () => this.#typed(), on);
    byId('browse-filter').addEventListener('keydown', (event) => {
      if (event.key !== 'ArrowDown' && event.key !== 'Enter') return;
      event.preventDefault();
      byId('browse-list').querySelector('button')?.focus();
    }, on);
    byId('browse-more').addEventListener('click', () => this.#read(this.#round, 1), on);
    byId('browse-create').addEventListener('click', () => {
      byId('browse').close();
      this.#act.create(byId('browse-filter').value.trim());
    }, on);
  }

  /** Lets go of the page. */
  close() {
    this.#stop.abort();
    byId('browse').close();
  }

  /** Opens the dialog anew. */
  open() {
    this.#found.clear();
    this.#next = '';
    this.#filter = '';
    byId('browse-filter').value = '';
    say(byId('browse-error'), null);
    openDialog(byId('browse'));
    this.#round += 1;
    this.#show();
    this.#read(this.#round, 1);
  }

  #typed() {
    this.#filter = byId('browse-filter').value.trim().normalize('NFC');
    this.#show();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#search(), TYPING_MS);
  }

  async #search() {
    this.#round += 1;
    const round = this.#round;
    if (!this.#filter) return;
    // The exact name is found at once, however many channels there are.
    await this.#take(round, () => this.#api.channels({ name: this.#filter }), false);
    await this.#read(round, PAGES_AT_ONCE);
  }

  async #read(round, pages) {
    for (let i = 0; i < pages && this.#next !== null && round === this.#round; i += 1) {
      const cursor = this.#next;
      const good = await this.#take(round, () => this.#api.channels({ cursor }), true);
      if (!good) return;
    }
  }

  async #take(round, ask, isPage) {
    try {
      const page = await ask();
      if (round !== this.#round) return false;
      for (const details of page.items) this.#found.set(details.id, details);
      if (isPage) this.#next = page.next;
      say(byId('browse-error'), null);
    } catch (error) {
      if (round !== this.#round) return false;
      say(byId('browse-error'), wordsFor(error));
      return false;
    }
    this.#show();
    return true;
  }

  #show() {
    const wanted = this.#filter.toLowerCase();
    const rows = [...this.#found.values()]
      .filter(({ name, topic }) => `${name}\n${topic}`.toLowerCase().includes(wanted))
      .sort((a, b) => a.name.localeCompare(b.name));
    const focused = document.activeElement?.dataset.channel;
    const list = byId('browse-list');
    list.replaceChildren(...rows.slice(0, ROWS_MAX).map((details) => this.#row(details)));
    if (focused) list.querySelector(`[data-channel="${CSS.escape(focused)}"]`)?.focus();
    byId('browse-more').hidden = this.#next === null || this.#next === '';
    setText(byId('browse-note'), this.#note(rows.length));
  }

  #note(rows) {
    if (rows > ROWS_MAX) return `${rows} channels; type more of the name to narrow them down.`;
    if (rows > 0) return '';
    if (this.#next !== null) return 'Looking …';
    return this.#filter ? 'No channel matches. Private ones show only to their members.'
      : 'There are no channels yet. Create the first.';
  }

  #row(details) {
    const isMine = this.#chat.channels.has(details.id);
    const text = el('span', { className: 'row-text' },
      el('strong', { dir: 'auto' }, details.name),
      details.topic ? el('small', { dir: 'auto' }, details.topic) : null);
    const props = { type: 'button', className: 'button small' };
    props['aria-label'] = `${isMine ? 'Open' : 'Join'} ${details.name}`;
    const button = el('button', props, isMine ? 'Open' : 'Join');
    button.dataset.channel = details.id;
    button.onclick = () => this.#choose(button, details, isMine);
    return el('li', { className: 'row' }, icon(details.private ? 'lock' : 'hash'), text, button);
  }

  async #choose(button, details, isMine) {
    button.disabled = true;
    try {
      if (!isMine) await this.#act.join(details);
      byId('browse').close();
      this.#act.open(details.id);
    } catch (error) {
      say(byId('browse-error'), wordsFor(error));
      button.disabled = false;
    }
  }
}
