//! What an append costs Redis, printed.

use banter_protocol::id::{ChannelId, UserId};
use banter_storage::log::{Act, Append};

use super::fixture::Under;
use crate::fixture::channel;

/// Gateways that hear of every entry.
const SUBSCRIBERS: usize = 2;
/// What nobody should have to find out from a slow machine: some five times what it is.
const SECONDS_MAX: f64 = 400e-6;

#[tokio::test]
async fn what_an_append_costs_redis() {
    let under = Under::durable().await;
    let ann = under.fixture.account(1, "ann").await;
    let server = &under.cluster.as_ref().unwrap().server;
    for (first, channels, size) in [(20, 1, 128), (30, 16, 128), (50, 16, 64), (70, 16, 16)] {
        let channels: Vec<_> = (first..first + channels).map(channel).collect();
        let mut listening = Vec::new();
        for _ in 0..SUBSCRIBERS {
            listening.push(server.listen(&channels));
        }
        let template = under.say(channels[0], ann, &"x".repeat(150)).await;
        let count = (1_900 * channels.len()).min(5_120) / size;
        // The first batch readies the channels.
        under.all(batch(&template, &channels, ann, size)).await;
        let before = server.cpu_seconds();
        for _ in 0..count - 1 {
            let answers = under.all(batch(&template, &channels, ann, size)).await;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        }
        let seconds = (server.cpu_seconds() - before) / ((count - 1) * size) as f64;
        eprintln!(
            "{:6.1} us of Redis for a message: batches of {size} over {} channels, fsync always, \
             {SUBSCRIBERS} subscribers",
            seconds * 1e6,
            channels.len()
        );
        assert!(seconds < SECONDS_MAX, "{seconds}");
        for listener in listening {
            assert!(listener.end() > 0);
        }
    }
}

fn batch(template: &Append, channels: &[ChannelId], user: UserId, size: usize) -> Vec<Append> {
    let message = |n: usize| {
        let mut append = template.clone();
        (append.channel, append.user) = (channels[n % channels.len()], user);
        if let Act::Message { id, .. } = &mut append.act {
            *id = uuid::Uuid::now_v7().to_string().parse().unwrap();
        }
        append
    };
    (0..size).map(message).collect()
}
