// The list of the user's channels.

import { byId, el, icon, oncePerFrame, setText } from './dom.js';

const byName = new Intl.Collator(undefined, { sensitivity: 'base', numeric: true });

/** Shows `chat.channels`. */
export class Sidebar {
  /** Asks for a new picture; cheap, however often it is called. */
  refresh = oncePerFrame(() => this.#render());
  #chat;
  #list = byId('channels');
  #rows = new Map();

  constructor(chat) {
    this.#chat = chat;
  }

  /** Lets go of the page. */
  close() {
    this.#list.replaceChildren();
  }

  /** The user's channels as they stand in the list. */
  ordered() {
    return [...this.#chat.channels.values()]
      .sort((a, b) => byName.compare(nameOf(a), nameOf(b)) || (a.id < b.id ? -1 : 1));
  }

  /** The channel `step` places from the shown one, around the ends. */
  beside(step) {
    const list = this.ordered();
    if (list.length === 0) return null;
    const at = list.indexOf(this.#chat.shown);
    return list[(Math.max(at, step > 0 ? -1 : 0) + step + list.length) % list.length];
  }

  #render() {
    const channels = this.ordered();
    for (const [id, row] of this.#rows) {
      if (this.#chat.channels.has(id)) continue;
      row.item.remove();
      this.#rows.delete(id);
    }
    let cursor = this.#list.firstChild;
    for (const channel of channels) {
      const row = this.#rows.get(channel.id) ?? this.#row(channel);
      this.#update(row, channel);
      if (row.item === cursor) cursor = cursor.nextSibling;
      else this.#list.insertBefore(row.item, cursor);
    }
    byId('no-channels').hidden = !this.#chat.ready || channels.length > 0;
    this.#title(channels);
  }

  #row(channel) {
    const name = el('bdi');
    const badge = el('span', { className: 'badge', hidden: true });
    const link = el('a', { className: 'channel', href: `#/c/${channel.id}` });
    const row = { item: el('li', {}, link), link, name, badge, icon: '' };
    this.#rows.set(channel.id, row);
    return row;
  }

  #update(row, channel) {
    const kind = channel.details?.private ? 'lock' : 'hash';
    if (row.icon !== kind) {
      row.icon = kind;
      row.link.replaceChildren(icon(kind), row.name, row.badge);
    }
    setText(row.name, nameOf(channel));
    row.link.classList.toggle('news', channel.unread > 0);
    row.badge.hidden = channel.unread === 0;
    setText(row.badge, channel.unread > 99 ? '99+' : String(channel.unread));
    row.badge.title = channel.unread === 1 ? '1 new message' : `${channel.unread} new messages`;
    if (channel === this.#chat.shown) row.link.setAttribute('aria-current', 'page');
    else row.link.removeAttribute('aria-current');
    const label = channel.unread > 0 ? `${nameOf(channel)}, ${row.badge.title}` : nameOf(channel);
    row.link.setAttribute('aria-label', channel.details?.private ? `${label}, private` : label);
  }

  #title(channels) {
    const unread = channels.reduce((sum, channel) => sum + channel.unread, 0);
    const { shown } = this.#chat;
    const place = shown ? `${nameOf(shown)} · Banter` : 'Banter';
    const title = unread > 0 ? `(${unread > 99 ? '99+' : unread}) ${place}` : place;
    if (document.title !== title) document.title = title;
  }
}

/** What a channel is called, also before its name is known. */
export function nameOf(channel) {
  return channel.details?.name ?? '…';
}
