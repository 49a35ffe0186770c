// Who is in a channel; adding and removing people.

import { byId, dress, el, openDialog, say, setText } from './dom.js';
import { ask } from './status.js';
import { wordsFor } from './words.js';

const SETTLE_MS = 300;

/** The dialog. */
export class Members {
  #api;
  #me;
  #channel = null;
  #members = new Map();
  #next = null;
  #round = 0;
  #timer = null;
  #stop = new AbortController();

  constructor(api, me) {
    this.#api = api;
    this.#me = me;
    const on = { signal: this.#stop.signal };
    byId('members-add').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#add();
    }, on);
    byId('members-more').addEventListener('click', () => this.#read(this.#next), on);
  }

  /** Lets go of the page. */
  close() {
    this.#stop.abort();
    byId('members').close();
  }

  /** Opens the dialog for a channel. */
  open(channel) {
    this.#channel = channel;
    this.#members.clear();
    byId('members-name').value = '';
    say(byId('members-error'), null);
    this.#show('Looking …');
    openDialog(byId('members'));
    this.#read(null);
  }

  /** Somebody came or went. */
  changed(channel) {
    if (channel !== this.#channel || !byId('members').open) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#read(null), SETTLE_MS);
  }

  async #read(cursor) {
    this.#round += 1;
    const round = this.#round;
    try {
      const page = await this.#api.members(this.#channel.id, cursor);
      if (round !== this.#round) return;
      if (!cursor) this.#members.clear();
      for (const member of page.items) this.#members.set(member.id, member);
      this.#next = page.next;
      this.#show('');
    } catch (error) {
      if (round === this.#round) this.#refuse(error);
    }
  }

  get #isOwner() {
    return this.#channel.details?.owner === this.#me;
  }

  #show(note) {
    const { details } = this.#channel;
    // Anyone may bring people into a private channel; a public one is open, and only its owner
    // lets those back in whom he removed.
    byId('members-add').hidden = !details || !(details.private || this.#isOwner);
    setText(byId('members-title'), `Members of ${details?.name ?? 'the channel'}`);
    const rows = [...this.#members.values()].sort((a, b) => rank(a) - rank(b)
      || a.username.localeCompare(b.username));
    byId('members-list').replaceChildren(...rows.map((member) => this.#row(member)));
    byId('members-more').hidden = !this.#next;
    setText(byId('members-note'), note);
  }

  #row({ username, role }) {
    const isMe = username === this.#me;
    const words = [];
    if (role === 'owner') words.push('Owner');
    if (isMe) words.push('You');
    const text = el('span', { className: 'row-text' }, el('strong', {}, el('bdi', {}, username)),
      words.length > 0 ? el('small', {}, words.join(' · ')) : null);
    const face = dress(el('span', { className: 'avatar small', 'aria-hidden': 'true' }), username);
    const row = el('li', { className: 'row' }, face, text);
    if (this.#isOwner && !isMe) {
      const props = { type: 'button', className: 'button small' };
      props['aria-label'] = `Remove ${username}`;
      props.onclick = () => this.#remove(username);
      row.append(el('button', props, 'Remove'));
    }
    return row;
  }

  async #add() {
    const username = byId('members-name').value.trim().toLowerCase();
    if (!username) return;
    await this.#change(() => this.#api.addMember(this.#channel.id, username));
    if (byId('members-error').hidden) byId('members-name').value = '';
  }

  async #remove(username) {
    const sure = await ask({
      title: `Remove ${username}?`,
      text: `${username} cannot come back until you add them again.`,
      yes: 'Remove',
    });
    if (sure) await this.#change(() => this.#api.removeMember(this.#channel.id, username));
  }

  async #change(work) {
    say(byId('members-error'), null);
    try {
      await work();
      await this.#read(null);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #refuse(error) {
    say(byId('members-error'), wordsFor(error));
  }
}

function rank({ role }) {
  return role === 'owner' ? 0 : 1;
}
