// Rows of the log: entries of the channel, and messages that wait to become one.

import { dress, el } from './dom.js';
import { wordsFor } from './words.js';

/** Messages of one author within this time stand together under one name. */
const TOGETHER_MS = 5 * 60 * 1000;
/** Longer bodies are folded until somebody asks for them. */
const FOLD_LENGTH = 1600;
const FOLD_LINES = 18;
const LINK = /https?:\/\/[^\s<>"'`]+/g;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const thisYear = new Intl.DateTimeFormat(undefined,
  { weekday: 'long', day: 'numeric', month: 'long' });
const otherYear = new Intl.DateTimeFormat(undefined, { dateStyle: 'long' });

/** The day of a time, as people call it. */
export function dayName(date, now = new Date()) {
  const days = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (days === 0) return 'Today';
  if (days === 1) return 'Yesterday';
  return (date.getFullYear() === now.getFullYear() ? thisYear : otherYear).format(date);
}

function midnight(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate());
}

/** Whether there is anything to show for an entry; newer kinds are only counted. */
export function isShown({ type }) {
  return type === 'message' || type === 'joined' || type === 'left' || type === 'tombstone';
}

/** How an entry stands towards the one before it: what its row has to begin with. */
export function setting(entry, before, newAfter) {
  const date = new Date(entry.sent_at);
  const earlier = before ? new Date(before.sent_at) : null;
  const isNew = newAfter !== null && entry.seq > newAfter && before !== null
    && before.seq <= newAfter;
  const day = !earlier || midnight(earlier) - midnight(date) !== 0 ? dayName(date) : '';
  const goesOn = !day && !isNew && entry.type === 'message' && before?.type === 'message'
    && before.author === entry.author && date - earlier < TOGETHER_MS;
  return { day, isNew, opens: !goesOn };
}

/** The row of an entry. */
export function entryRow(entry, { day, isNew, opens }, me) {
  const item = el('li', { className: 'item' });
  item.dataset.seq = entry.seq;
  if (day) item.append(el('div', { className: 'day' }, day));
  if (isNew) item.append(el('div', { className: 'new-line' }, 'New'));
  if (entry.type === 'message') {
    const row = message(entry.author, new Date(entry.sent_at), opens, entry);
    row.lastChild.append(...bodyOf(entry.body, me));
    item.append(row);
  } else {
    item.append(event(entry, me));
  }
  return item;
}

/** The row of a message that is not an entry yet. `act` has `retry(item)` and `discard(item)`. */
export function pendingRow(waiting, opens, me, act) {
  const row = message(me, new Date(waiting.at), opens, null);
  row.classList.add(waiting.state === 'failed' ? 'failed' : 'pending');
  row.lastChild.append(...bodyOf(waiting.body, me), fate(waiting, act));
  const item = el('li', { className: 'item' }, row);
  item.dataset.id = waiting.id;
  item.dataset.state = waiting.state;
  return item;
}

function fate(waiting, act) {
  if (waiting.state !== 'failed') {
    return el('p', { className: 'fate' }, waiting.state === 'pending' ? 'Sending …' : 'Sent');
  }
  const again = { type: 'button', className: 'link', onclick: () => act.retry(waiting) };
  const away = { type: 'button', className: 'link', onclick: () => act.discard(waiting) };
  return el('p', { className: 'fate' }, wordsFor(waiting.failure),
    el('button', again, 'Try again'), el('button', away, 'Discard'));
}

function message(author, date, opens, entry) {
  const content = el('div', { className: 'content' });
  const row = el('div', { className: opens ? 'message opens' : 'message' });
  const when = time(date, entry);
  if (opens) {
    const face = dress(el('span', { className: 'avatar', 'aria-hidden': 'true' }), author);
    content.append(el('div', { className: 'by' }, el('bdi', {}, author), when));
    row.append(face, content);
  } else {
    row.append(when, content);
  }
  return row;
}

// A place in the channel has an address; but hundreds of them would bury the way by keyboard.
function time(date, entry) {
  const props = { className: 'when', title: full.format(date) };
  const label = el('time', { dateTime: date.toISOString() }, clock.format(date));
  if (!entry) return el('span', props, label);
  return el('a', { ...props, tabIndex: -1, href: `#/c/${entry.channel}/${entry.seq}` }, label);
}

function event(entry, me) {
  const name = (username) => el('bdi', {}, username === me ? 'You' : username);
  const line = el('div', { className: 'event', title: full.format(new Date(entry.sent_at)) });
  if (entry.type === 'joined') line.append(name(entry.user), ' joined');
  else if (entry.type === 'tombstone') line.append('A message here could not be stored');
  else if (entry.by) line.append(name(entry.user), ' removed by ', name(entry.by));
  else line.append(name(entry.user), ' left');
  return line;
}

function bodyOf(text, me) {
  const body = el('div', { className: 'body', dir: 'auto' }, ...linked(text, me));
  const isLong = text.length > FOLD_LENGTH || text.split('\n').length > FOLD_LINES;
  if (!isLong) return [body];
  body.classList.add('long');
  const more = el('button', { type: 'button', className: 'link' }, 'Show all of it');
  more.onclick = () => {
    body.classList.remove('long');
    more.remove();
  };
  return [body, more];
}

/** A text as nodes: addresses become links, one's own name is marked, all else stays text. */
export function linked(text, me) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const address = match[0].replace(/[.,;:!?)\]}*_]+$/, '');
    if (!URL.canParse?.(address)) continue;
    nodes.push(...mentioned(text.slice(end, match.index), me));
    const link = { href: address, target: '_blank', rel: 'noopener noreferrer' };
    nodes.push(el('a', link, address));
    end = match.index + address.length;
  }
  nodes.push(...mentioned(text.slice(end), me));
  return nodes;
}

function mentioned(text, me) {
  // A username has no characters that mean something in a pattern, except the dot.
  const name = me.replaceAll('.', '\\.');
  const parts = text.split(new RegExp(`(?<![\\w.-])(@${name})(?![\\w-])`, 'i'));
  return parts.filter((part) => part !== '')
    .map((part) => (isMe(part, me) ? el('span', { className: 'mention' }, part) : part));
}

function isMe(part, me) {
  return part.toLowerCase() === `@${me}`;
}
