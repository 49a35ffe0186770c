//! What sockets are told of epochs, of stored entries and of changed memberships.

use std::sync::Arc;
use std::time::Duration;

use banter_protocol::id::{Position, SessionId, UserId};
use banter_protocol::websocket::text_frame;
use banter_storage::bus::{Changed, LocalBus};
use banter_storage::log::Shard;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::broadcast::census::Reach;
use crate::broadcast::{Acknowledgement, Unstored as Queued};

const fn user(n: u8) -> UserId {
    UserId::from_bytes([n; 16])
}

const fn channel(n: u8) -> ChannelId {
    ChannelId::from_bytes([n; 16])
}

const fn at(seq: Seq, epoch: Epoch) -> Position {
    Position { seq, epoch }
}

struct World {
    pump: Pump,
    listener: TcpListener,
}

struct Client {
    outbound: Arc<Outbound>,
    stream: TcpStream,
}

impl World {
    async fn new() -> Self {
        let bus = Bus::Local(LocalBus::new().0);
        let metrics = Metrics::new();
        Self {
            pump: Pump::new(bus, Census::new(&metrics), metrics, Traces::untold()),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    async fn registered(&mut self, n: u8) -> Client {
        let address = self.listener.local_addr().unwrap();
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), self.listener.accept());
        let session = SessionId::from_bytes([n; 16]);
        let stream_here = accepted.unwrap().0;
        stream_here.writable().await.unwrap();
        let traffic = self.pump.metrics.traffic.clone();
        let outbound = Outbound::new(stream_here, user(n), session, 1 << 20, traffic);
        let outbound = Arc::new(outbound);
        let watch = self.pump.bus.watch(Topic::User(user(n)));
        self.pump.obey(Command::Register(outbound.clone(), watch));
        Client {
            outbound,
            stream: stream.unwrap(),
        }
    }

    /// A socket that is live in a channel after an entry that was found under an epoch.
    async fn live(&mut self, n: u8, id: ChannelId, after: Position) -> Client {
        let client = self.registered(n).await;
        self.attach(&client, id, after, after.seq);
        for note in client.outbound.take_notes() {
            if let Note::Replay { channel, .. } = note {
                self.caught_up(&client, channel, after);
            }
        }
        client.outbound.take_notes();
        client
    }

    fn attach(&mut self, client: &Client, id: ChannelId, after: Position, read: Seq) {
        let subscription = Subscription {
            channel: id,
            after: after.seq,
            epoch: after.epoch,
            read,
        };
        let outbound = client.outbound.clone();
        outbound.set_channels(vec![id]);
        self.pump
            .obey(Command::Attach(outbound, vec![subscription]));
    }

    fn caught_up(&mut self, client: &Client, channel: ChannelId, at: Position) {
        self.pump.obey(Command::CaughtUp {
            outbound: client.outbound.clone(),
            channel,
            at: at.seq,
            epoch: Some(at.epoch),
        });
    }

    fn deliver(&mut self, id: ChannelId, position: Position, change: Option<Change>) {
        let text = format!("{}/{}", position.seq, position.epoch);
        let delivery = Delivery {
            channel: id,
            position,
            sent_ms: 0,
            reach: Reach::new(1),
            frame: text_frame(&text),
            change,
        };
        self.pump.obey(Command::Deliver([delivery].into()));
        self.pump.flush();
    }

    fn acknowledge(&mut self, client: &Client, id: ChannelId, at: Position, had_under: Epoch) {
        self.pump.obey(Command::Acknowledge(vec![Acknowledgement {
            outbound: client.outbound.clone(),
            frame: text_frame("ack"),
            unstored: Some(Queued {
                channel: id,
                position: at,
                had_under,
            }),
        }]));
    }

    /// The task of a socket has found its user to be a member.
    fn looked(&mut self, client: &Client, channel: ChannelId, joined: Position) {
        self.pump.obey(Command::Member {
            outbound: client.outbound.clone(),
            channel,
            joined,
        });
    }

    fn changed(&mut self, n: u8, id: ChannelId, position: Position, joined: bool) {
        self.pump.obey(Command::Change(Changed {
            channel: id,
            user: user(n),
            position,
            joined,
        }));
    }
}

impl Client {
    /// The texts that have been written so far, in short.
    async fn frames(&mut self) -> Vec<String> {
        // What was written before this frame has arrived when it has.
        const LAST: &str = "that is all";
        self.outbound.push(&text_frame(LAST));
        let mut texts = Vec::new();
        loop {
            let mut length = self.byte().await & 0x7f;
            if length == 126 {
                length = usize::from(self.stream.read_u16().await.unwrap());
            }
            let mut text = vec![0; length];
            self.stream.read_exact(&mut text).await.unwrap();
            let text = String::from_utf8(text).unwrap();
            if text == LAST {
                return texts;
            }
            let short = text.replace(&channel(1).to_string(), "#1");
            texts.push(short.replace('"', "").replace("type:", ""));
        }
    }

    async fn byte(&mut self) -> usize {
        self.stream.read_u8().await.unwrap();
        usize::from(self.stream.read_u8().await.unwrap())
    }

    fn closing(&self) -> Option<Close> {
        self.outbound.closing()
    }
}

#[tokio::test]
async fn a_sender_hears_when_its_sends_are_stored_and_nobody_else() {
    let mut world = World::new().await;
    let mut ann = world.live(1, channel(1), at(5, 1)).await;
    let mut bob = world.live(2, channel(1), at(5, 1)).await;
    world.acknowledge(&ann, channel(1), at(6, 1), 1);
    world.acknowledge(&ann, channel(1), at(8, 1), 1);
    for seq in [5, 7, 9, 12] {
        world.pump.obey(Command::Store(channel(1), at(seq, 1)));
    }
    let told = |seq| format!("{{stored,channel:#1,seq:{seq},epoch:1}}");
    let expected = ["ack".into(), "ack".into(), told(5), told(7), told(8)];
    assert_eq!(ann.frames().await, expected);
    assert!(bob.frames().await.is_empty());
    assert!(world.pump.unstored.is_empty());
}

#[tokio::test]
async fn what_may_be_lost_is_sent_again_once() {
    let mut world = World::new().await;
    let mut ann = world.live(1, channel(1), at(5, 1)).await;
    let mut bob = world.live(2, channel(1), at(5, 1)).await;
    world.acknowledge(&ann, channel(1), at(6, 1), 1);
    let shard = Shard::of(channel(1));
    let other = Shard::of(channel(2));
    world.pump.obey(Command::Lose(other, 2));
    world.pump.obey(Command::Lose(shard, 2));
    world.pump.obey(Command::Lose(shard, 2));
    // It was there after all, and the log says so under its new epoch.
    world.acknowledge(&ann, channel(1), at(6, 1), 2);
    world.acknowledge(&ann, channel(1), at(7, 2), 2);
    world.pump.obey(Command::Store(channel(1), at(7, 2)));
    let told = |seq, epoch| format!("{{stored,channel:#1,seq:{seq},epoch:{epoch}}}");
    let expected = ["ack", "{resend}", "ack", "ack"];
    let frames = ann.frames().await;
    assert_eq!(frames[..4], expected);
    assert_eq!(frames[4..], [told(6, 1), told(7, 2)]);
    assert!(bob.frames().await.is_empty());
}

#[tokio::test]
async fn an_epoch_that_keeps_everything_disturbs_only_who_has_read_beyond_it() {
    let mut world = World::new().await;
    let mut ann = world.live(1, channel(1), at(5, 1)).await;
    let bob = world.live(2, channel(1), at(7, 1)).await;
    let eve = world.registered(3).await;
    world.attach(&eve, channel(1), at(2, 1), 2);
    world.deliver(channel(1), at(6, 1), None);
    world.pump.obey(Command::Keep(channel(1), at(6, 2)));
    assert_eq!(ann.closing(), None);
    assert_eq!(
        bob.closing(),
        Some(Close::Unavailable),
        "has read a 7 that is void"
    );
    assert_eq!(
        eve.closing(),
        Some(Close::Unavailable),
        "was in the middle of a replay"
    );
    world.deliver(channel(1), at(7, 2), None);
    assert_eq!(ann.frames().await, ["6/1", "7/2"]);
    // A hello that was answered under the old epoch.
    let late = world.registered(4).await;
    world.attach(&late, channel(1), at(7, 1), 7);
    assert_eq!(late.closing(), Some(Close::Unavailable));
    let mut fine = world.live(5, channel(1), at(7, 2)).await;
    world.deliver(channel(1), at(8, 2), None);
    assert_eq!(fine.frames().await, ["8/2"]);
}

#[tokio::test]
async fn a_rewind_resets_who_is_live_and_goes_on_from_the_head() {
    let mut world = World::new().await;
    let mut ann = world.live(1, channel(1), at(5, 1)).await;
    world.deliver(channel(1), at(6, 1), None);
    world.deliver(
        channel(1),
        at(7, 1),
        Some(Change {
            user: user(2),
            joined: true,
        }),
    );
    world.pump.obey(Command::Rewind(channel(1), at(5, 2)));
    for seq in 6..=7 {
        world.deliver(channel(1), at(seq, 2), None);
    }
    let reset = "{reset,channel:#1,reason:epoch,seq:5,epoch:2}";
    assert_eq!(ann.frames().await, ["6/1", "7/1", reset, "6/2", "7/2"]);
}

#[tokio::test]
async fn who_is_live_since_a_join_that_may_be_lost_asks_anew() {
    let mut world = World::new().await;
    let (bob, mut eve) = (
        world.live(2, channel(1), at(6, 1)).await,
        world.live(3, channel(1), at(6, 1)).await,
    );
    for (client, seq) in [(&bob, 6), (&eve, 4)] {
        let key = client.outbound.key();
        world.pump.unstored.add_join(channel(1), key, at(seq, 1));
    }
    world.pump.obey(Command::Store(channel(1), at(5, 1)));
    // That there is another entry at its number proves nothing.
    world.pump.obey(Command::Store(channel(1), at(7, 2)));
    world.pump.obey(Command::Rewind(channel(1), at(7, 2)));
    assert_eq!(bob.closing(), Some(Close::Unavailable));
    assert_eq!(eve.closing(), None);
    let reset = "{reset,channel:#1,reason:epoch,seq:7,epoch:2}";
    assert_eq!(eve.frames().await, [reset]);
}

#[tokio::test]
async fn a_hint_lets_a_user_in_where_the_channel_is_not_heard() {
    let mut world = World::new().await;
    let ann = world.registered(1).await;
    world
        .pump
        .obey(Command::Attach(ann.outbound.clone(), Vec::new()));
    world.changed(1, channel(1), at(4, 1), true);
    let look = Note::Look {
        channel: channel(1),
    };
    assert_eq!(ann.outbound.take_notes(), [look]);
    world.looked(&ann, channel(1), at(4, 1));
    world.changed(1, channel(1), at(4, 1), true);
    world.looked(&ann, channel(1), at(4, 1));
    let replay = Note::Replay {
        channel: channel(1),
        after: 3,
        epoch: None,
    };
    assert_eq!(ann.outbound.take_notes(), [replay]);
    assert!(ann.outbound.is_member(&channel(1)));
    world.caught_up(&ann, channel(1), at(6, 1));
    let leave = Change {
        user: user(1),
        joined: false,
    };
    world.deliver(channel(1), at(7, 1), Some(leave));
    assert!(!ann.outbound.is_member(&channel(1)));
    // The worker tells of the join again, late.
    ann.outbound.take_notes();
    world.changed(1, channel(1), at(4, 1), true);
    assert!(!ann.outbound.is_member(&channel(1)));
    assert!(ann.outbound.take_notes().is_empty());
    world.looked(&ann, channel(1), at(4, 1));
    assert!(!ann.outbound.is_member(&channel(1)));
    world.changed(1, channel(1), at(9, 1), true);
    assert_eq!(ann.outbound.take_notes(), [look]);
    world.looked(&ann, channel(1), at(9, 1));
    assert!(ann.outbound.is_member(&channel(1)));
}

#[tokio::test]
async fn a_hint_of_a_leave_waits_for_its_entry_or_has_the_socket_ask_anew() {
    let mut world = World::new().await;
    let mut ann = world.live(1, channel(1), at(5, 1)).await;
    world.changed(1, channel(1), at(6, 1), false);
    let leave = Change {
        user: user(1),
        joined: false,
    };
    world.deliver(channel(1), at(6, 1), Some(leave));
    world.deliver(channel(1), at(7, 1), None);
    assert_eq!(ann.frames().await, ["6/1"]);
    assert_eq!(ann.closing(), None);
    // Bob's hello has read a membership that had ended: the entry came before he was there.
    let bob = world.live(2, channel(1), at(9, 1)).await;
    world.changed(2, channel(1), at(8, 1), false);
    assert_eq!(bob.closing(), Some(Close::Unavailable));
}

#[tokio::test]
async fn a_replay_of_the_former_membership_goes_on_after_a_hint_too() {
    let mut world = World::new().await;
    let mut ann = world.live(1, channel(1), at(9, 1)).await;
    let mut bob = world.registered(2).await;
    world.attach(&bob, channel(1), at(2, 1), 9);
    let leave = Change {
        user: user(2),
        joined: false,
    };
    world.deliver(channel(1), at(10, 1), Some(leave));
    world.looked(&bob, channel(1), at(11, 1));
    world.deliver(channel(1), at(11, 1), None);
    // His task has begun with the first note, and is told with the last one to go on.
    let notes = bob.outbound.take_notes();
    assert!(
        matches!(
            notes[..],
            [
                Note::Replay { after: 2, .. },
                Note::Until { seq: 10, .. },
                Note::Replay { after: 10, .. },
            ]
        ),
        "{notes:?}"
    );
    assert!(bob.frames().await.is_empty(), "what he lacks comes first");
    assert_eq!(ann.frames().await, ["10/1", "11/1"]);
}

/// Prints which share of a delivery is counting, in the worst case: one entry a tick, so that each
/// delivery is a write of its own. Only a build with optimisation tells anything.
#[tokio::test]
#[expect(clippy::cast_precision_loss, reason = "counts of a test")]
async fn what_counting_costs_a_delivery() {
    const SOCKETS: u8 = 100;
    const ENTRIES: u64 = 1_000;
    let mut world = World::new().await;
    let mut clients = Vec::new();
    for n in 0..SOCKETS {
        clients.push(world.live(n, channel(1), at(0, 1)).await);
    }
    let mut sink = [0; 16 * 1024];
    let mut took = Duration::ZERO;
    for seq in 1..=ENTRIES {
        let begun = Instant::now();
        world.deliver(channel(1), at(seq, 1), None);
        took += begun.elapsed();
        for client in &clients {
            while client.stream.try_read(&mut sink).is_ok_and(|read| read > 0) {}
        }
    }
    let metrics = world.pump.metrics.clone();
    let deliveries = ENTRIES * u64::from(SOCKETS);
    assert_eq!(metrics.deliveries.get(), deliveries);
    // An entry: its reach and its latency; a flush: deliveries and frames; a write: its bytes.
    let (observed, added) = (2 * ENTRIES, 2 * ENTRIES + deliveries);
    let ns = |what: &dyn Fn()| {
        let begun = Instant::now();
        (0..deliveries).for_each(|_| what());
        begun.elapsed().as_secs_f64() * 1e9 / deliveries as f64
    };
    let observe = ns(&|| metrics.fanout.observe(7.0));
    let add = ns(&|| {
        metrics.traffic.bytes.inc_by(150);
    });
    let counting = (observed as f64 * observe + added as f64 * add) / deliveries as f64;
    let whole = took.as_secs_f64() * 1e9 / deliveries as f64;
    eprintln!(
        "counting: {:.2} updates of {add:.1} ns and {:.2} of {observe:.1} ns a delivery: \
         {counting:.1} of {whole:.0} ns, {:.2} %",
        added as f64 / deliveries as f64,
        observed as f64 / deliveries as f64,
        100.0 * counting / whole
    );
}
