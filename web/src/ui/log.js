// The log of the shown channel: a window of rows, the place where one reads, and what loads more.

import { byId, el, oncePerFrame, setText } from './dom.js';
import { entryRow, isShown, pendingRow, setting } from './entry.js';
import { count, wordsFor } from './words.js';

/** So near to an end, in pixels, more is asked for. */
const NEAR = 700;
/** So near to the bottom, in pixels, one counts as being there. */
const AT_END = 48;

/** Shows `chat.shown`. `me` is the own username. */
export class Log {
  /** Asks for a new picture; cheap, however often it is called. */
  refresh = oncePerFrame(() => this.#render());
  #chat;
  #me;
  #log = byId('log');
  #list = byId('entries');
  #rows = new Map();
  #channel = null;
  // Where the next picture has to be: `end`, an entry's number, `new`, or null for where it is.
  #aim = 'end';
  #marked = null;
  #atEnd = true;
  #sizes = new ResizeObserver(() => this.#resized());
  #stop = new AbortController();

  constructor(chat, me) {
    this.#chat = chat;
    this.#me = me;
    const on = { signal: this.#stop.signal, passive: true };
    this.#log.addEventListener('scroll', () => this.#scrolled(), on);
    for (const name of ['focus', 'blur']) addEventListener(name, () => this.#attend(), on);
    document.addEventListener('visibilitychange', () => this.#attend(), on);
    byId('to-latest').addEventListener('click', () => this.toEnd(), on);
    byId('to-unread').addEventListener('click', () => this.#toUnread(), on);
    this.#sizes.observe(this.#log);
  }

  /** Lets go of the page. */
  close() {
    this.#stop.abort();
    this.#sizes.disconnect();
    this.#list.replaceChildren();
  }

  /** Goes to the newest entry. */
  toEnd() {
    const { shown } = this.#chat;
    this.#aim = 'end';
    if (shown?.timeline.hasNewer) this.#chat.pager.newest(shown);
    this.refresh();
  }

  /** Goes to an entry, wherever it is. */
  toEntry(seq) {
    const { shown } = this.#chat;
    const { timeline } = shown;
    const isHere = timeline.loaded && seq >= timeline.first && seq <= timeline.last;
    if (!isHere) this.#chat.pager.around(shown, seq);
    this.#aim = seq;
    this.#marked = seq;
    this.refresh();
  }

  #toUnread() {
    const { shown } = this.#chat;
    if (shown?.newAfter !== null) this.toEntry(shown.newAfter + 1);
  }

  #render() {
    const channel = this.#chat.shown;
    if (channel !== this.#channel) this.#turnTo(channel);
    if (!channel) return;
    const anchor = this.#atEnd ? null : this.#anchor();
    this.#reconcile(this.#items(channel));
    this.#edges(channel);
    this.#place(channel, anchor);
    this.#jumps(channel);
    this.#attend();
    this.#loadMore(channel);
  }

  #turnTo(channel) {
    this.#channel = channel;
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#atEnd = true;
    if (typeof this.#aim === 'number') return;
    this.#marked = null;
    this.#aim = channel?.newAfter === null ? 'end' : 'new';
  }

  // What should be there, as `{key, mark, build}`: a row is made again only when its mark changes.
  #items(channel) {
    const items = [];
    let before = null;
    for (const entry of channel.timeline.entries) {
      if (!isShown(entry)) continue;
      const place = setting(entry, before, channel.newAfter);
      before = entry;
      items.push({
        key: entry.seq,
        mark: `${place.day}|${place.isNew}|${place.opens}|${entry.epoch}`,
        build: () => entryRow(entry, place, this.#me),
      });
    }
    if (channel.timeline.hasNewer) return items;
    let opens = before?.type !== 'message' || before.author !== this.#me;
    for (const waiting of this.#chat.outbox.unseen(channel.id)) {
      const opened = opens;
      opens = false;
      items.push({
        key: waiting.id,
        mark: `${waiting.state}|${opened}`,
        build: () => pendingRow(waiting, opened, this.#me, this.#chat),
      });
    }
    return items;
  }

  #reconcile(items) {
    const wanted = new Set(items.map((item) => item.key));
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue;
      row.node.remove();
      this.#rows.delete(key);
    }
    let cursor = this.#list.firstChild;
    for (const { key, mark, build } of items) {
      let row = this.#rows.get(key);
      if (row?.mark !== mark) {
        const node = build();
        if (row) {
          if (row.node === cursor) cursor = cursor.nextSibling;
          row.node.remove();
        }
        row = { node, mark };
        this.#rows.set(key, row);
      }
      if (row.node === cursor) cursor = cursor.nextSibling;
      else this.#list.insertBefore(row.node, cursor);
    }
  }

  // The first row in sight and where it is: it stays there, whatever comes in above it.
  #anchor() {
    const top = this.#log.getBoundingClientRect().top;
    for (const row of this.#list.children) {
      const box = row.getBoundingClientRect();
      if (box.bottom > top) return { row, top: box.top };
    }
    return null;
  }

  #place(channel, anchor) {
    if (!channel.timeline.loaded) return;
    const log = this.#log;
    const aim = this.#aim;
    const waits = (aim === 'end' && channel.loading === 'newest')
      || (typeof aim === 'number' && channel.loading === 'around');
    if (!waits) this.#aim = null;
    const target = typeof aim === 'number' ? this.#rowAt(aim)
      : aim === 'new' ? this.#list.querySelector('.new-line') : null;
    if (target) {
      const lift = typeof aim === 'number' ? log.clientHeight / 3 : 80;
      log.scrollTop += target.getBoundingClientRect().top - log.getBoundingClientRect().top - lift;
      if (aim === this.#marked) this.#mark(target);
    } else if (aim !== null || !anchor) {
      log.scrollTop = log.scrollHeight;
    } else if (anchor.row.isConnected) {
      log.scrollTop += anchor.row.getBoundingClientRect().top - anchor.top;
    }
    this.#measure();
  }

  #rowAt(seq) {
    const row = this.#rows.get(seq)?.node;
    if (row) return row;
    // Entries that are not shown have no row; the next one that has stands for them.
    const seqs = [...this.#rows.keys()].filter((key) => typeof key === 'number' && key >= seq);
    return seqs.length > 0 ? this.#rows.get(Math.min(...seqs)).node : null;
  }

  #mark(row) {
    this.#marked = null;
    row.classList.add('aimed');
    setTimeout(() => row.classList.remove('aimed'), 2500);
  }

  #measure() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < AT_END;
  }

  #edges(channel) {
    // What is shown here may outlast the channel, so the buttons ask which one it is.
    const { timeline, loading, failure, details } = channel;
    const top = byId('log-top');
    const end = byId('log-end');
    const retry = () => this.#again(this.#channel);
    const button = { type: 'button', className: 'link', onclick: retry };
    const failed = (at) => failure && at.includes(failure.what)
      && el('p', {}, wordsFor(failure), ' ', el('button', button, 'Try again'));
    let above = failed(['older']);
    if (!timeline.loaded) {
      above = failed(['newest', 'around']) || el('p', {}, 'Reading …');
    } else if (!above && timeline.hasOlder) {
      const older = () => this.#chat.pager.older(this.#channel);
      const props = { type: 'button', className: 'link', onclick: older, disabled: !!loading };
      above = el('button', props, loading === 'older' ? 'Reading …' : 'Show older messages');
    } else if (!above) {
      above = el('div', { className: 'log-start' },
        el('strong', {}, details ? details.name : '…'), 'This is where the channel begins.');
    }
    swap(top, above);
    swap(end, timeline.loaded && failed(['newer', 'newest', 'around']));
  }

  #again(channel) {
    const { pager } = this.#chat;
    if (!channel.timeline.loaded) pager.newest(channel);
    else if (channel.failure?.what === 'older') pager.older(channel);
    else if (!pager.newer(channel)) pager.newest(channel);
  }

  #jumps(channel) {
    const { timeline, newAfter, unread, unreadIsRough } = channel;
    const latest = byId('to-latest');
    latest.hidden = !timeline.loaded || (this.#atEnd && !timeline.hasNewer);
    const news = unread === 0 || unreadIsRough ? 'Latest messages'
      : count(unread, 'new message', 'new messages');
    setText(latest.lastElementChild, news);
    const above = timeline.loaded && newAfter !== null && timeline.first > newAfter + 1;
    byId('to-unread').hidden = !above;
    setText(byId('to-unread'), 'New messages begin further up');
  }

  #scrolled() {
    this.#measure();
    this.#attend();
    const channel = this.#channel;
    if (!channel || channel !== this.#chat.shown) return;
    this.#jumps(channel);
    this.#loadMore(channel);
  }

  #resized() {
    if (this.#atEnd && this.#aim === null) this.#log.scrollTop = this.#log.scrollHeight;
    this.#measure();
  }

  #attend() {
    const looks = document.visibilityState === 'visible' && document.hasFocus();
    this.#chat.attend(looks && this.#atEnd && this.#channel === this.#chat.shown);
  }

  #loadMore(channel) {
    if (channel.loading || channel.failure || !channel.timeline.loaded) return;
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    const { timeline } = channel;
    if (timeline.hasOlder && scrollTop < NEAR) this.#chat.pager.older(channel);
    else if (timeline.hasNewer && scrollHeight - scrollTop - clientHeight < NEAR) {
      this.#chat.pager.newer(channel);
    }
  }
}

// Replaces what an edge shows, unless it is the same: a focused button must not vanish.
function swap(edge, node) {
  if (!node) edge.replaceChildren();
  else if (!edge.firstChild || !edge.firstChild.isEqualNode(node)) edge.replaceChildren(node);
}
