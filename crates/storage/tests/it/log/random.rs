//! Random histories on real servers, as the model plays them without: senders who try again,
//! members who read, workers who die, and a Redis that is killed, torn, or emptied under them.

mod check;
mod play;
mod sender;

use self::play::{Faults, play};

/// Nothing acknowledged may be lost or move, whatever dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_where_redis_loses_nothing() {
    play(Faults::Crashes).await;
}

/// What Redis loses is sent again, and nobody sees two entries at one position.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_repeated_or_mistaken_where_redis_loses_entries() {
    play(Faults::Losses).await;
}
