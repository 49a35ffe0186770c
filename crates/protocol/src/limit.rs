//! Every limit of the wire in one place, each with its reason.
//!
//! Limits that an operator may change have their default here and their key in the configuration.

use std::time::Duration;

/// Longest body of a message, in bytes of UTF-8: a page of text, small enough that a page of
/// history stays below a few megabytes.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// Longest frame or HTTP body from a client, in bytes: the largest message body with every byte
/// escaped as `\u00XX` would be six times its size; four times leaves room for any ordinary text.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Length of a username in characters (all of them ASCII).
pub const USERNAME_CHARS_MIN: usize = 3;
/// See [`USERNAME_CHARS_MIN`].
pub const USERNAME_CHARS_MAX: usize = 32;

/// Shortest password, in characters (OWASP ASVS 5.0, 6.2.1).
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Longest password, in bytes: passphrases fit, a megabyte to hash does not.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Longest channel name, in characters: what a sidebar can show.
pub const CHANNEL_NAME_CHARS_MAX: usize = 80;
/// Longest topic, in characters.
pub const TOPIC_CHARS_MAX: usize = 1024;

/// Longest message id, in bytes of printable ASCII.
pub const MESSAGE_ID_BYTES_MAX: usize = 64;
/// How far ahead of the server's clock a `UUIDv7` message id may lie: beyond it, its time is wrong
/// and the id could not be found among the recent ones.
pub const MESSAGE_ID_AHEAD_MAX: Duration = Duration::from_secs(5 * 60);

/// Default and largest length of a page of any list.
pub const PAGE_DEFAULT: u32 = 50;
/// See [`PAGE_DEFAULT`].
pub const PAGE_MAX: u32 = 200;

/// Most channels a user may be a member of: bounds `welcome` and the work of a `hello`.
pub const CHANNELS_PER_USER: usize = 500;

/// Entries a channel takes in a second, on average and at once
/// (`limits.channel_entries_per_second`).
pub const CHANNEL_ENTRIES_PER_SECOND: u32 = 1_000;
/// The burst is twice the rate everywhere: a second's worth saved up.
pub const BURST_FACTOR: u32 = 2;

/// Frames a socket may send in a second, control frames and fragments included
/// (`limits.socket_frames_per_second`).
pub const SOCKET_FRAMES_PER_SECOND: u32 = 500;

/// Sockets one user may have open: every device and tab of one person.
pub const SOCKETS_PER_USER: usize = 32;

/// Logins and registrations of one address in a minute (`limits.address_logins_per_minute`): a
/// family or a small office behind one address, not a list of stolen passwords.
pub const ADDRESS_LOGINS_PER_MINUTE: u32 = 10;
/// Logins and registrations that one address may save up.
pub const ADDRESS_LOGINS_BURST: u32 = 30;
/// Upgrades of one address in a second (`limits.address_upgrades_per_second`): a company that
/// reconnects after an outage, not a flood.
pub const ADDRESS_UPGRADES_PER_SECOND: u32 = 50;
/// Upgrades that one address may save up.
pub const ADDRESS_UPGRADES_BURST: u32 = 200;
/// Sockets of one address (`limits.address_sockets`): a company behind one address.
pub const ADDRESS_SOCKETS: u32 = 5_000;

/// Webhooks of one channel: more tools than anybody wants to hear from in one place, and few enough
/// that nobody collects usernames with them.
pub const WEBHOOKS_PER_CHANNEL: u32 = 50;
/// Messages a webhook may post in a second (`limits.webhook_messages_per_second`): a storm of
/// alerts fits, a script that went wild does not bury the channel.
pub const WEBHOOK_MESSAGES_PER_SECOND: u32 = 20;
/// Posts to webhooks from one address in a second, with whatever secret: each costs a look-up in
/// the database before anything is known about who asks.
pub const ADDRESS_WEBHOOKS_PER_SECOND: u32 = 50;
/// Posts to webhooks that one address may save up.
pub const ADDRESS_WEBHOOKS_BURST: u32 = 200;

/// Bytes that may wait for a socket beyond the kernel's buffers (`limits.outbound_bytes`).
pub const OUTBOUND_BYTES: usize = 1024 * 1024;
/// The least that [`OUTBOUND_BYTES`] may be set to: the largest `message` frame (a body of control
/// characters, each escaped to six bytes) must fit.
pub const OUTBOUND_BYTES_MIN: usize = 128 * 1024;
/// How long a slow consumer's close frame may take before the socket is dropped.
pub const SLOW_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest replay on resume, in entries a channel; after more, paging is the cheaper way.
pub const REPLAY_ENTRIES_MAX: u64 = 10_000;
/// Entries that one step of a replay reads at most: bounds what a replay holds in memory.
pub const REPLAY_PAGE: u32 = 500;

/// From the end of the upgrade to a complete `hello`.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// To send the head of an HTTP request.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// To send the body of an HTTP request.
pub const HTTP_BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two requests of a kept-alive HTTP connection.
pub const HTTP_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Between two pings of the server; each is jittered by up to a tenth.
pub const PING_INTERVAL: Duration = Duration::from_secs(25);
/// From a ping to its pong, else the socket is closed.
pub const PONG_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a socket outlives its token, so that a renewal under way can arrive.
pub const TOKEN_GRACE: Duration = Duration::from_secs(25);
/// Longest access token, in bytes; ours have some 400.
pub const TOKEN_BYTES_MAX: usize = 2 * 1024;

/// How far ahead of our clock a token may have been issued: two servers' clocks differ a little.
pub const TOKEN_AHEAD_MAX: Duration = Duration::from_secs(5);

/// Passwords that may wait for a core to be hashed on: a few seconds of work on two cores. More
/// would be answered after their clients have given up.
pub const HASHES_WAITING_MAX: usize = 64;
/// Failed logins of an account that cost nothing, within [`LOGIN_FAILURES_WINDOW`]: people mistype.
pub const LOGIN_FAILURES_FREE: usize = 5;
/// See [`LOGIN_FAILURES_FREE`]; also how long an account must be left alone, after its last wait,
/// to start afresh.
pub const LOGIN_FAILURES_WINDOW: Duration = Duration::from_secs(15 * 60);
/// The wait after the first failure that is not free; each further one doubles it.
pub const LOGIN_WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest wait: a guesser gets four tries an hour, the owner is never locked out for ever.
pub const LOGIN_WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// Accounts whose failures are remembered at once: 20 MB of them.
pub const LOGIN_ACCOUNTS_MAX: usize = 100_000;
/// Addresses whose logins are counted at once: some 4 MB.
pub const ADDRESSES_MAX: usize = 65_536;

/// How long the predecessor of the newest refresh token answers with the same successor: a lost
/// answer can be asked for again, a stolen token is found out.
pub const REFRESH_GRACE: Duration = Duration::from_secs(10);
/// How long a signing key is used (`banter keys rotate` does it at once).
pub const KEY_ROTATION: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a retired key is published beyond the life of what it signed: caches and clocks.
pub const KEY_RETIRED_MARGIN: Duration = Duration::from_secs(15 * 60);
/// How often a process looks for what others have revoked; it must be known within two seconds.
pub const REVOCATION_POLL: Duration = Duration::from_millis(500);

/// Sends that a client keeps until they are stored.
pub const OUTBOX_MAX: usize = 1_000;

/// Most appends, and most bytes of bodies, that one transaction of the log takes: some 10 ms of
/// work, so that the others' wait stays bounded.
pub const APPEND_BATCH_MAX: usize = 1_000;
/// See [`APPEND_BATCH_MAX`].
pub const APPEND_BATCH_BYTES_MAX: usize = 1024 * 1024;

/// The largest integer that every JSON implementation reads exactly (2^53 - 1).
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

const _: () = assert!(FRAME_BYTES_MAX >= 4 * BODY_BYTES_MAX);
const _: () = assert!(
    OUTBOUND_BYTES > 8 * FRAME_BYTES_MAX,
    "a reply must never be a slow consumer"
);
const _: () = assert!(OUTBOUND_BYTES_MIN > 6 * BODY_BYTES_MAX + 4 * 1024);
const _: () = assert!(OUTBOUND_BYTES_MIN <= OUTBOUND_BYTES);
const _: () = assert!(REPLAY_ENTRIES_MAX.is_multiple_of(REPLAY_PAGE as u64));
const _: () = assert!(PAGE_DEFAULT <= PAGE_MAX);
const _: () = assert!(LOGIN_WAIT_MIN.as_secs() <= LOGIN_WAIT_MAX.as_secs());
const _: () = assert!(2 * REVOCATION_POLL.as_millis() < 2_000);
const _: () = assert!(APPEND_BATCH_BYTES_MAX >= FRAME_BYTES_MAX);
const _: () = assert!(PONG_TIMEOUT.as_secs() < PING_INTERVAL.as_secs());
