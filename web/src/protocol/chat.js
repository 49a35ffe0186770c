// The state of a signed-in user: channels, outbox, and what the frames of the server do to them.

import { Channel } from './channel.js';
import * as frames from './frames.js';
import { REPAIR_PAGE, SEND_BURST_MS } from './limits.js';
import { Outbox } from './outbox.js';
import { Pager } from './pager.js';
import { uuidv7 } from './uuid.js';

/**
 * What is known and what happens to it. `me` is a username; `api` has `history(id, query)`,
 * `channel(id)` and `joined()`; `reads` keeps the read markers: `get(id)`, `set(id, seq)`.
 *
 * It tells `on.changed(channel)` (null: the list), `on.applied(channel, entry)`,
 * `on.gone(channel, entry)` and `on.refused(frame)`, an error that is about no message.
 */
export class Chat {
  channels = new Map();
  outbox = new Outbox();
  /** The channel that is shown, or null. */
  shown = null;
  /** Whether the person sees the end of the shown channel now. */
  attentive = false;
  /** Whether a first `welcome` has told which channels there are. */
  ready = false;
  #me;
  #api;
  #clock;
  #reads;
  #on;
  #send;
  #ahead = 0;
  #pumpTimer = null;

  constructor({ me, api, clock, random, reads, send, on }) {
    this.#me = me;
    this.#api = api;
    this.#clock = clock;
    this.#reads = reads;
    this.#send = send;
    this.#on = on;
    this.pager = new Pager({
      history: (id, query) => api.history(id, query),
      clock,
      random,
      apply: (channel, entry) => this.#entry(channel, entry),
      changed: (channel) => on.changed(channel),
    });
  }

  /** Positions for `hello`. */
  positions() {
    const all = {};
    for (const channel of this.channels.values()) all[channel.id] = channel.position;
    return all;
  }

  /** A socket was greeted. */
  welcome({ channels, server_time: serverTime }) {
    this.#ahead = Date.parse(serverTime) - this.#clock.now() || 0;
    for (const channel of [...this.channels.values()]) {
      if (!(channel.id in channels)) this.#remove(channel, null);
    }
    for (const [id, head] of Object.entries(channels)) {
      const known = this.channels.get(id);
      if (!known) this.#add(id, head);
      else if (known.failure) this.#reload(known);
    }
    this.ready = true;
    this.outbox.reconnected();
    this.#pump();
    this.#on.changed(null);
    this.#fetchDetails();
    this.#refineUnread();
  }

  /** A frame after `welcome`. Unknown ones are passed over. */
  receive(frame) {
    if (frames.isEntry(frame)) {
      this.#live(frame);
    } else if (frame.type === 'ack') {
      this.#acked(frame);
    } else if (frame.type === 'stored') {
      this.outbox.stored(frame);
    } else if (frame.type === 'resend') {
      this.outbox.resend();
      this.#pump();
    } else if (frame.type === 'reset') {
      this.#reset(frame);
    } else if (frame.type === 'error') {
      this.#refused(frame);
    }
  }

  /** Says something. Answers false where the outbox is full. */
  say(channelId, body) {
    const at = this.#clock.now() + this.#ahead;
    const item = this.outbox.add({ id: uuidv7(at), channel: channelId, body, at });
    if (!item) return false;
    this.#pump();
    this.#on.changed(this.channels.get(channelId) ?? null);
    return true;
  }

  /** Tries a failed message again. */
  retry(item) {
    this.outbox.retry(item.id);
    this.#pump();
    this.#on.changed(this.channels.get(item.channel) ?? null);
  }

  /** Gives a failed message up. */
  discard(item) {
    this.outbox.discard(item.id);
    this.#on.changed(this.channels.get(item.channel) ?? null);
  }

  /** The answer to having joined or created a channel: live after `position`. */
  joined(details, position) {
    const channel = this.channels.get(details.id) ?? this.#add(details.id, position);
    channel.details = details;
    this.#on.changed(null);
    return channel;
  }

  /** Having left while no socket could tell. */
  left(id) {
    const channel = this.channels.get(id);
    if (channel) this.#remove(channel, null);
  }

  /** Shows a channel, or none; at its end, or around an entry. */
  show(channel, around = null) {
    this.shown?.timeline.trimOlder(100);
    this.shown = channel;
    if (!channel) return;
    channel.newAfter = channel.unread > 0 ? channel.read : null;
    if (around !== null) this.pager.around(channel, around);
    else if (!channel.timeline.loaded || channel.timeline.hasNewer) this.pager.newest(channel);
  }

  /** The person sees the end of the shown channel, or does not. */
  attend(attentive) {
    this.attentive = attentive;
    if (this.shown && this.#watches(this.shown)) this.#sawAll(this.shown);
  }

  /** Another tab has seen a channel up to `seq`. */
  readElsewhere(id, seq) {
    const channel = this.channels.get(id);
    if (!channel || seq < channel.position.seq) return;
    channel.markRead();
    this.#on.changed(channel);
  }

  #add(id, head) {
    const channel = new Channel(id, head);
    channel.read = this.#reads.get(id);
    if (channel.read === null || channel.read > head.seq) {
      // Never seen on this device: what was before is not news.
      channel.read = head.seq;
      this.#reads.set(id, head.seq);
    }
    channel.unread = head.seq - channel.read;
    channel.unreadIsRough = channel.unread > 0;
    this.channels.set(id, channel);
    return channel;
  }

  #remove(channel, entry) {
    channel.generation += 1;
    this.channels.delete(channel.id);
    this.outbox.closeChannel(channel.id, { code: 'not_a_member', message: 'No longer a member.' });
    if (this.shown === channel) this.shown = null;
    this.#on.gone(channel, entry);
    this.#on.changed(null);
  }

  #live(entry) {
    let channel = this.channels.get(entry.channel);
    if (!channel) {
      // Only members are told: this one was added just now.
      channel = this.#add(entry.channel, { seq: entry.seq - 1, epoch: entry.epoch });
      channel.read = entry.seq - 1;
      channel.unread = 0;
      channel.unreadIsRough = false;
      this.#fetchDetails();
    }
    this.#entry(channel, entry);
    if (channel.hasGap) this.pager.repair(channel);
  }

  #entry(channel, taken) {
    for (const entry of channel.take(taken)) {
      const own = entry.type === 'message' && entry.author === this.#me;
      channel.timeline.live(entry, this.#watches(channel));
      if (own) this.outbox.sawEntry(entry);
      if (entry.type === 'left' && entry.user === this.#me) {
        this.#remove(channel, entry);
        return;
      }
      this.#count(channel, entry, own);
      this.#followOwner(channel, entry);
      this.#on.applied(channel, entry);
    }
    this.outbox.settle(channel.id, channel.position.seq);
    this.#on.changed(channel);
  }

  #count(channel, entry, own) {
    if (own || this.#watches(channel)) {
      this.#sawAll(channel);
    } else if (entry.type === 'message') {
      if (channel === this.shown && channel.unread === 0) channel.newAfter = channel.read;
      channel.unread += 1;
    } else if (channel.unread === 0) {
      // Who comes and goes is no reason to come and look.
      channel.read = entry.seq;
    }
  }

  // Whether what is applied to a channel is seen at once.
  #watches(channel) {
    const { loaded, hasNewer } = channel.timeline;
    return this.attentive && channel === this.shown && loaded && !hasNewer;
  }

  #sawAll(channel) {
    if (!channel.markRead()) return;
    this.#reads.set(channel.id, channel.read);
    this.#on.changed(channel);
  }

  // With an owner's leave, and with who joins an ownerless channel, ownership moves on.
  #followOwner(channel, entry) {
    if (!channel.details || (entry.type !== 'left' && entry.type !== 'joined')) return;
    const { owner } = channel.details;
    if (owner && owner !== entry.user) return;
    this.#api.channel(channel.id).then((details) => {
      channel.details = details;
      this.#on.changed(channel);
    }, () => {});
  }

  #acked(frame) {
    const item = this.outbox.ack(frame);
    const channel = this.channels.get(frame.channel);
    if (!item || !channel) return;
    this.outbox.settle(channel.id, channel.position.seq);
    this.#on.changed(channel);
  }

  #refused(frame) {
    const item = frame.id === undefined ? null : this.outbox.refuse(frame, this.#clock.now());
    if (!item) {
      this.#on.refused(frame);
      return;
    }
    this.#pump();
    this.#on.changed(this.channels.get(item.channel) ?? null);
  }

  #reset({ channel: id, reason, seq, epoch }) {
    const channel = this.channels.get(id);
    if (!channel) return;
    if (reason === 'unavailable' || seq === undefined) {
      this.#remove(channel, null);
      return;
    }
    if (reason === 'epoch') channel.discard({ seq, epoch });
    else channel.skipTo({ seq, epoch });
    channel.unread = Math.max(0, seq - channel.read);
    channel.unreadIsRough = channel.unread > 0;
    if (channel === this.shown && channel.unread > 0) channel.newAfter = channel.read;
    this.outbox.settle(id, seq);
    this.#reload(channel);
    this.#on.changed(channel);
  }

  #reload(channel) {
    if (channel !== this.shown) return;
    if (!channel.timeline.loaded) this.pager.newest(channel);
    else this.pager.newer(channel);
  }

  #pump() {
    this.#clock.clearTimeout(this.#pumpTimer);
    this.#pumpTimer = null;
    const now = this.#clock.now();
    const { items, wakeAt, more } = this.outbox.due(now);
    for (const item of items) {
      if (!this.#send(frames.send(item))) return;
      item.sent = true;
    }
    const wait = more ? SEND_BURST_MS : wakeAt === null ? null : wakeAt - now;
    if (wait !== null) this.#pumpTimer = this.#clock.setTimeout(() => this.#pump(), wait);
  }

  // The numbers alone do not tell how many of the new entries are messages of others.
  async #refineUnread() {
    for (const channel of [...this.channels.values()]) {
      const { read, position, unread, unreadIsRough } = channel;
      if (!unreadIsRough || unread > REPAIR_PAGE) continue;
      try {
        const page = await this.#api.history(channel.id, { after: read, limit: REPAIR_PAGE });
        if (channel.read !== read || !channel.unreadIsRough) continue;
        const news = page.items.filter((entry) => entry.type === 'message'
          && entry.author !== this.#me && entry.seq <= position.seq);
        channel.unread += news.length - unread;
        channel.unreadIsRough = false;
        this.#on.changed(channel);
      } catch {
        // The rough number is better than none.
      }
    }
  }

  async #fetchDetails() {
    const missing = () => [...this.channels.values()].filter((channel) => !channel.details);
    if (missing().length === 0) return;
    try {
      const list = missing().length > 3 ? await this.#api.joined() : [];
      for (const details of list) this.#describe(details);
      for (const { id } of missing()) this.#describe(await this.#api.channel(id));
    } catch {
      // Shown without a name for now; the next welcome asks again.
    }
    this.#on.changed(null);
  }

  #describe(details) {
    const channel = this.channels.get(details.id);
    if (channel) channel.details = details;
  }
}
