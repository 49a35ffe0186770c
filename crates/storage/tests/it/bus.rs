//! The bus of a cluster on real servers: what gateways hear while connections break, Redis
//! restarts and is emptied, and receivers sleep.

use std::collections::BTreeMap;
use std::time::Duration;

use banter_protocol::id::{ChannelId, Epoch, Position, Seq, UserId};
use banter_protocol::text::{Body, Username};
use banter_storage::accounts::{Accounts, NewAccount};
use banter_storage::board::{Asked, Board};
use banter_storage::bus::{Bus, Changed, Event, Hearing, RedisBus, Topic};
use banter_storage::channels::Channels;
use banter_storage::gossip::{Gossip, Standing};
use banter_storage::log::redis::drain::Drain;
use banter_storage::log::{Act, Append, Log, RedisLog, Shard};
use banter_storage::postgres::Role;
use banter_storage::{Database, Durability, Postgres, Redis};
use tokio::sync::mpsc;

use crate::fixture::{channel, new_channel};
use crate::seed::Seed;
use crate::servers::postgres::shared;
use crate::servers::redis::Server;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Servers with accounts and channels.
struct Cluster {
    redis: Server,
    url: String,
    users: Vec<(UserId, Username)>,
}

impl Cluster {
    async fn start(channels: u8) -> Self {
        let url = shared().database(false).await;
        let database = Database::from(Postgres::open(&url, Role::Command).await.unwrap());
        let mut users = Vec::new();
        for n in 1..=3 {
            let id = UserId::from_bytes([n; 16]);
            let username = Username::parse(&format!("user-{n}")).unwrap();
            let account = NewAccount {
                id,
                username: username.clone(),
                password: "hash".into(),
                created_at: banter_protocol::time::Timestamp::from_ms(0),
            };
            let _ = Accounts::new(&database)
                .create(&account, None)
                .await
                .unwrap();
            users.push((id, username));
        }
        for n in 1..=channels {
            let new = new_channel(n, &format!("channel-{n}"), false, users[0].0);
            let _ = Channels::new(&database).create(&new).await.unwrap();
        }
        Self {
            redis: Server::start(),
            url,
            users,
        }
    }

    async fn postgres(&self, role: Role) -> Postgres {
        Postgres::open(&self.url, role).await.unwrap()
    }

    async fn redis(&self) -> Redis {
        Redis::open(&self.redis.url(), None, Durability::Always)
            .await
            .unwrap()
    }

    async fn gateway(&self) -> Gateway {
        self.gateway_hearing(Hearing::Wanted).await
    }

    async fn gateway_hearing(&self, hearing: Hearing) -> Gateway {
        let (redis, postgres) = (self.redis().await, self.postgres(Role::Gateway).await);
        let log = RedisLog::new(redis.clone(), postgres.clone());
        let (bus, events) = RedisBus::start(redis, log.clone(), postgres, hearing);
        Gateway {
            log: Log::Redis(log),
            arrivals: bus.clone(),
            bus: Bus::Redis(bus),
            events,
            heard: Heard::default(),
        }
    }

    async fn drain(&self) -> Drain {
        Drain::new(self.redis().await, self.postgres(Role::Worker).await, "w")
    }

    fn append(&self, user: usize, channel: ChannelId, act: Act) -> Append {
        let (user, username) = self.users[user].clone();
        Append {
            channel,
            user,
            username,
            act,
        }
    }

    fn message(&self, user: usize, channel: ChannelId, text: &str) -> Append {
        let act = Act::Message {
            id: uuid::Uuid::now_v7().to_string().parse().unwrap(),
            body: Body::parse(text).unwrap(),
        };
        self.append(user, channel, act)
    }
}

/// Stores everything that waits.
async fn drained(drain: &Drain) {
    let shards: Vec<_> = Shard::all().collect();
    while drain.step(&shards, |_| {}).await.unwrap().rows > 0 {}
}

struct Gateway {
    log: Log,
    arrivals: RedisBus,
    bus: Bus,
    events: mpsc::Receiver<Event>,
    heard: Heard,
}

/// What a gateway has heard: of each channel, the entries since it began or was rewound.
#[derive(Default)]
struct Heard {
    channels: BTreeMap<ChannelId, Vec<Position>>,
    changes: Vec<Changed>,
    stored: BTreeMap<ChannelId, Position>,
    lost: BTreeMap<Shard, Epoch>,
    rewound: Vec<(ChannelId, Position)>,
    kept: Vec<(ChannelId, Position)>,
}

impl Heard {
    fn take(&mut self, event: Event) {
        match event {
            Event::Entries(records) => {
                for record in records {
                    let entries = self.channels.entry(record.entry.channel).or_default();
                    let at = record.entry.position();
                    if let Some(last) = entries.last() {
                        assert_eq!(at.seq, last.seq + 1, "dense in {}", record.entry.channel);
                    }
                    entries.push(at);
                }
            }
            Event::Changed(changed) => self.changes.push(changed),
            Event::Stored { channel, position } => {
                let told = self.lost.get(&Shard::of(channel));
                assert!(told.is_none_or(|epoch| *epoch >= position.epoch));
                self.stored.insert(channel, position);
            }
            Event::Lost { shard, epoch } => {
                self.lost.insert(shard, epoch);
            }
            Event::Kept { channel, at } => self.kept.push((channel, at)),
            Event::Rewound { channel, head } => {
                assert_eq!(self.lost.get(&Shard::of(channel)), Some(&head.epoch));
                self.channels.insert(channel, vec![head]);
                self.rewound.push((channel, head));
            }
            Event::Barrier(_) => {}
        }
    }

    fn top(&self, channel: ChannelId) -> Seq {
        let entries = self.channels.get(&channel);
        entries.and_then(|all| all.last()).map_or(0, |at| at.seq)
    }
}

impl Gateway {
    /// Takes events until that is so.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Heard) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !is_so(&self.heard) {
            let event = tokio::time::timeout_at(deadline, self.events.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("waited in vain for {what}"));
            self.heard.take(event.unwrap());
        }
    }

    async fn append(&self, appends: Vec<Append>) -> Vec<Position> {
        let answers = self.log.append(appends).await.unwrap();
        let receipts = answers.into_iter().map(|answer| answer.unwrap());
        receipts
            .map(|it| Position {
                seq: it.seq,
                epoch: it.epoch,
            })
            .collect()
    }
}

/// Appends batches until it is through, again where the outcome is unknown.
async fn storm(log: Log, batches: Vec<Vec<Append>>) {
    for batch in batches {
        while let Err(error) = log.append(batch.clone()).await {
            eprintln!("again: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_entry_is_heard_once_and_in_order_while_connections_break() {
    const CHANNELS: u8 = 8;
    let mut seed = Seed::of_run();
    let cluster = Cluster::start(CHANNELS).await;
    let (mut one, mut two) = (cluster.gateway().await, cluster.gateway().await);
    let mut watches = Vec::new();
    for n in 1..=CHANNELS {
        let topic = Topic::Channel(channel(n));
        for gateway in [&one, &two] {
            watches.push(gateway.bus.watch(topic));
            gateway.bus.watched(topic).await.unwrap();
        }
        for user in 0..2 {
            one.append(vec![cluster.append(user, channel(n), Act::Join)])
                .await;
        }
    }
    let mut batches = |user| -> Vec<Vec<Append>> {
        let mut batch = || {
            let count = 1 + seed.below(24);
            let channels = (0..count).map(|_| 1 + seed.below(CHANNELS.into()) as u8);
            channels
                .map(|n| cluster.message(user, channel(n), "storm"))
                .collect()
        };
        (0..120).map(|_| batch()).collect()
    };
    let storms = [
        tokio::spawn(storm(one.log.clone(), batches(0))),
        tokio::spawn(storm(two.log.clone(), batches(1))),
    ];
    let drain = cluster.drain().await;
    let worker = tokio::spawn(async move {
        loop {
            drained(&drain).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let url = cluster.redis.url();
    let killer = std::thread::spawn(move || {
        let mut raw = redis::Client::open(url).unwrap().get_connection().unwrap();
        let mut killed = 0u64;
        for _ in 0..12 {
            std::thread::sleep(Duration::from_millis(120));
            let kill = redis::cmd("CLIENT")
                .arg("KILL")
                .arg("TYPE")
                .arg("pubsub")
                .clone();
            killed += kill.query::<u64>(&mut raw).unwrap();
        }
        killed
    });
    for storm in storms {
        storm.await.unwrap();
    }
    let channels: Vec<_> = (1..=CHANNELS).map(channel).collect();
    let heads = one.log.heads(&channels).await.unwrap();
    for gateway in [&mut one, &mut two] {
        let complete = |heard: &Heard| heads.iter().all(|(it, head)| heard.top(*it) == head.seq);
        gateway.until("every entry", complete).await;
        for entries in gateway.heard.channels.values() {
            assert_eq!(entries.first().unwrap().seq, 1, "nothing was begun late");
        }
        assert!(gateway.heard.rewound.is_empty());
    }
    assert!(killer.join().unwrap() > 6, "connections were broken");
    worker.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_log_rewinds_and_a_kept_one_goes_on() {
    let mut cluster = Cluster::start(2).await;
    let mut gateway = cluster.gateway().await;
    let drain = cluster.drain().await;
    let (kept, lost) = (channel(1), channel(2));
    let _watches: Vec<_> = [kept, lost]
        .map(|it| gateway.bus.watch(Topic::Channel(it)))
        .into();
    for it in [kept, lost] {
        gateway.bus.watched(Topic::Channel(it)).await.unwrap();
        gateway.append(vec![cluster.append(0, it, Act::Join)]).await;
        gateway.append(vec![cluster.message(0, it, "stored")]).await;
    }
    drained(&drain).await;
    gateway
        .until("stored", |heard| heard.stored.len() == 2)
        .await;
    assert_eq!(gateway.bus.stored(kept), Some(2));
    gateway
        .append(vec![cluster.message(0, lost, "unstored")])
        .await;
    gateway.until("three", |heard| heard.top(lost) == 3).await;

    // Emptied: only what was stored is left.
    cluster.redis.command::<()>(&["FLUSHALL"]);
    let again = gateway
        .append(vec![cluster.message(0, lost, "again")])
        .await;
    assert_eq!(again[0].seq, 3);
    gateway
        .until("a rewind", |heard| !heard.rewound.is_empty())
        .await;
    let (rewound, head) = gateway.heard.rewound[0];
    assert_eq!(gateway.bus.epoch(lost), Some(head.epoch));
    assert_eq!((rewound, head.epoch), (lost, again[0].epoch));
    gateway
        .until("the rest", |heard| heard.kept.iter().any(|it| it.0 == kept))
        .await;
    assert_eq!(gateway.heard.top(kept), 2);
    gateway
        .until("the newest", |heard| heard.top(lost) == 3)
        .await;

    restarted_with_everything(&mut cluster, &mut gateway, kept).await;
}

/// Another epoch, and nothing is lost.
async fn restarted_with_everything(cluster: &mut Cluster, gateway: &mut Gateway, kept: ChannelId) {
    let before = gateway.bus.epoch(kept);
    gateway
        .append(vec![cluster.message(0, kept, "in the log")])
        .await;
    gateway
        .until("in the log", |heard| heard.top(kept) == 3)
        .await;
    let rewinds = gateway.heard.rewound.len();
    cluster.redis.kill();
    while gateway.bus.watched(Topic::Channel(kept)).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.redis.up();
    storm(
        gateway.log.clone(),
        vec![vec![cluster.message(0, kept, "after")]],
    )
    .await;
    gateway
        .until("what came after", |heard| heard.top(kept) == 4)
        .await;
    let epoch = gateway.heard.lost[&Shard::of(kept)];
    assert!(Some(epoch) > before);
    assert!(
        gateway
            .heard
            .kept
            .contains(&(kept, Position { seq: 3, epoch }))
    );
    assert_eq!(gateway.heard.rewound.len(), rewinds);
    gateway.bus.watched(Topic::Channel(kept)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_hears_nothing_of_channels_that_nobody_here_wants() {
    let cluster = Cluster::start(2).await;
    let (mut one, two) = (cluster.gateway().await, cluster.gateway().await);
    let (wanted, other) = (channel(1), channel(2));
    let _watch = one.bus.watch(Topic::Channel(wanted));
    let brief = two.bus.watch(Topic::Channel(wanted));
    for gateway in [&one, &two] {
        gateway.bus.watched(Topic::Channel(wanted)).await.unwrap();
    }
    let listeners = |it: ChannelId| -> u64 {
        let name = format!("c:{}", it.to_string().replace('-', ""));
        let asked = cluster
            .redis
            .command::<(String, u64)>(&["PUBSUB", "NUMSUB", &name]);
        asked.1
    };
    assert_eq!((listeners(wanted), listeners(other)), (2, 0));
    drop(brief);
    // Late: whoever left may come back.
    let begun = std::time::Instant::now();
    while listeners(wanted) == 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        begun.elapsed() > Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
    let before = two.arrivals.arrivals().channels;
    for it in [wanted, other] {
        one.append(vec![cluster.append(0, it, Act::Join)]).await;
        for _ in 0..50 {
            one.append(vec![cluster.message(0, it, "hello")]).await;
        }
    }
    one.until("all", |heard| heard.top(wanted) == 51).await;
    assert_eq!(one.arrivals.arrivals().channels, 51);
    assert_eq!(one.arrivals.arrivals().unwanted, 0);
    assert_eq!(two.arrivals.arrivals().channels, before);
    assert_eq!(one.heard.top(other), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_hears_everything_passes_on_what_is_wanted() {
    let cluster = Cluster::start(2).await;
    let mut gateway = cluster.gateway_hearing(Hearing::Everything).await;
    let (wanted, other) = (channel(1), channel(2));
    let _watch = gateway.bus.watch(Topic::Channel(wanted));
    gateway.bus.watched(Topic::Channel(wanted)).await.unwrap();
    for it in [other, wanted] {
        gateway.append(vec![cluster.append(0, it, Act::Join)]).await;
        for _ in 0..50 {
            gateway.append(vec![cluster.message(0, it, "hello")]).await;
        }
    }
    gateway.until("all", |heard| heard.top(wanted) == 51).await;
    let arrivals = gateway.arrivals.arrivals();
    assert_eq!((arrivals.channels, arrivals.unwanted), (102, 51));
    assert_eq!(gateway.heard.top(other), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_joins_are_heard_even_where_the_word_was_lost() {
    let cluster = Cluster::start(2).await;
    let mut gateway = cluster.gateway().await;
    let drain = cluster.drain().await;
    let user = cluster.users[1].0;
    let _watch = gateway.bus.watch(Topic::User(user));
    gateway.bus.watched(Topic::User(user)).await.unwrap();
    let at = gateway
        .append(vec![cluster.append(1, channel(1), Act::Join)])
        .await[0];
    let joined = Changed {
        channel: channel(1),
        user,
        position: at,
        joined: true,
    };
    gateway
        .until("the join", |heard| heard.changes.contains(&joined))
        .await;
    gateway
        .append(vec![cluster.append(1, channel(1), Act::Leave { by: None })])
        .await;
    gateway
        .until("the leave", |heard| {
            heard.changes.iter().any(|it| !it.joined)
        })
        .await;
    // The connection is gone while the user joins, and the worker tells it to nobody.
    let kill = ["CLIENT", "KILL", "TYPE", "pubsub"];
    assert_eq!(cluster.redis.command::<u64>(&kill), 1);
    let at = gateway
        .append(vec![cluster.append(1, channel(2), Act::Join)])
        .await[0];
    drained(&drain).await;
    let missed = |it: &Changed| it.channel == channel(2) && it.position == at && it.joined;
    gateway
        .until("the lost word", |heard| heard.changes.iter().any(missed))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_sleeps_costs_no_memory_and_misses_nothing() {
    const BATCHES: usize = 60;
    const BATCH: usize = 40;
    let cluster = Cluster::start(1).await;
    let mut gateway = cluster.gateway().await;
    let drain = cluster.drain().await;
    let it = channel(1);
    let _watch = gateway.bus.watch(Topic::Channel(it));
    gateway.bus.watched(Topic::Channel(it)).await.unwrap();
    gateway.append(vec![cluster.append(0, it, Act::Join)]).await;
    // Twice what may wait.
    let long = "x".repeat(8 * 1024);
    for _ in 0..BATCHES {
        let batch: Vec<_> = (0..BATCH).map(|_| cluster.message(0, it, &long)).collect();
        // A channel takes so many entries a second.
        storm(gateway.log.clone(), vec![batch]).await;
    }
    drained(&drain).await;
    let head = gateway.log.heads(&[it]).await.unwrap()[&it];
    assert!(head.seq > 1_500, "{head:?}");
    gateway
        .until("all of it", |heard| heard.top(it) == head.seq)
        .await;
    assert_eq!(gateway.heard.channels[&it].len() as Seq, head.seq);
}

#[tokio::test]
async fn processes_write_of_themselves_while_somebody_looks() {
    let cluster = Cluster::start(0).await;
    let one = Board::new(cluster.redis().await, "one".to_owned());
    let two = Board::new(cluster.redis().await, "two".to_owned());
    assert_eq!(two.asked().await.unwrap(), Asked::Nothing);
    let first = one.look().await.unwrap();
    assert_eq!((first.notes.len(), first.is_first), (0, true));
    assert_eq!(two.asked().await.unwrap(), Asked::News);
    one.ask_for_all().await.unwrap();
    assert_eq!(two.asked().await.unwrap(), Asked::All);
    let left: u64 = cluster.redis.command(&["PTTL", "board:asked-all"]);
    assert!(left <= 3_000, "{left}");
    one.post("of one").await.unwrap();
    two.post("of two").await.unwrap();
    let look = one.look().await.unwrap();
    assert_eq!(
        (look.notes, look.is_first),
        (vec!["of two".to_owned()], false)
    );
    let left: u64 = cluster.redis.command(&["PTTL", "board:two"]);
    assert!(left <= 5_000, "{left}");
    let left: u64 = cluster.redis.command(&["PTTL", "board:asked"]);
    assert!(left <= 15_000, "{left}");
    cluster.redis.command::<()>(&["DEL", "board:two"]);
    assert_eq!(one.look().await.unwrap().notes, Vec::<String>::new());
}

#[tokio::test]
async fn a_message_to_oneself_tells_how_late_the_bus_is() {
    let cluster = Cluster::start(0).await;
    let gateway = cluster.gateway().await;
    let mut lag = gateway.arrivals.lag();
    tokio::time::timeout(PATIENCE, lag.changed())
        .await
        .unwrap()
        .unwrap();
    assert!(!lag.borrow().is_zero());
    assert!(gateway.arrivals.arrivals().others >= 1);
}

#[tokio::test]
async fn gateways_hear_how_the_others_stand_until_they_are_gone() {
    let cluster = Cluster::start(0).await;
    let one = Gossip::new(cluster.redis().await, "one".to_owned());
    let two = Gossip::new(cluster.redis().await, "two".to_owned());
    let standing = |sockets| Standing {
        sockets,
        opened: 7,
        ready: sockets > 1,
        millicores: 250,
    };
    assert_eq!(one.exchange(standing(1)).await.unwrap(), []);
    assert_eq!(two.exchange(standing(2)).await.unwrap(), [standing(1)]);
    assert_eq!(one.exchange(standing(3)).await.unwrap(), [standing(2)]);
    // What a process that ends leaves behind ends soon after it.
    let left: u64 = cluster.redis.command(&["PTTL", "gossip:two"]);
    assert!(left <= 5_000, "{left}");
    cluster.redis.command::<()>(&["DEL", "gossip:two"]);
    assert_eq!(one.exchange(standing(3)).await.unwrap(), []);
}
