//! Keeps sockets evenly spread over the gateways of a cluster.
//!
//! New sockets go where the load balancer sends them; those that are open stay where they are, so
//! after a scale-out somebody has to move. Nobody is ever refused for balance: gateways that all
//! believe to be full would lock everybody out.

use std::collections::VecDeque;
use std::sync::Weak;
use std::time::Duration;

use banter_protocol::close::Close;
use banter_storage::gossip::{Gossip, Standing};
use tokio::time::Instant;

use crate::app::App;
use crate::broadcast::Outbound;
use crate::cluster::{Cpu, spread};

/// How often gateways tell each other how they stand, and move sockets.
const INTERVAL: Duration = Duration::from_secs(1);
/// Share of the mean above which a gateway begins to move sockets…
const BEGIN_ABOVE: f64 = 1.15;
/// …and at which it stops: without a distance between the two they would never rest.
const END_AT: f64 = 1.02;
/// Sockets above the mean that are not worth a move.
const SPARE: f64 = 8.0;
/// Intervals in which a new peer may get a socket by itself, before one is moved to see whether it
/// does: where people come and go, nobody has to be moved for that.
const PROVES_ITSELF_WITHIN: u32 = 3;
/// Share of its sockets that a gateway asks to move in a second: at 1 % a doubled cluster is still
/// uneven after a minute, at 4 % it is even after half of one.
const SHARE_A_SECOND: f64 = 0.04;
/// How long a client that was asked to move may take before it is told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a gateway is moving sockets.
#[derive(Debug, Default)]
struct Rule {
    is_moving: bool,
    /// For how many intervals in a row a peer has had no socket.
    unproved_for: u32,
    /// Sockets that the others were told of last.
    told: usize,
}

impl Rule {
    /// How many sockets to ask to move within the next second.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a process has far fewer than 2^52 sockets"
    )]
    fn moves(&mut self, own: Standing, peers: &[Standing]) -> usize {
        // The others were last heard up to a second ago: what came in since has come to them too,
        // and must not look like too much here.
        let told = std::mem::replace(&mut self.told, own.sockets);
        let own = Standing {
            sockets: own.sockets.min(told),
            ..own
        };
        let ready = || peers.iter().filter(|peer| peer.ready);
        if !own.ready {
            *self = Self::default();
            return 0;
        }
        // Whether a peer gets any traffic shows when there is some for it to get.
        if own.sockets as f64 > SPARE && ready().any(|peer| peer.opened == 0) {
            self.unproved_for = self.unproved_for.saturating_add(1);
            return usize::from(self.unproved_for > PROVES_ITSELF_WITHIN);
        }
        self.unproved_for = 0;
        let proved: Vec<_> = ready().filter(|peer| peer.opened > 0).collect();
        let all = own.sockets + proved.iter().map(|peer| peer.sockets).sum::<usize>();
        let mean = all as f64 / (1 + proved.len()) as f64;
        let sockets = own.sockets as f64;
        let excess = sockets - mean;
        self.is_moving = match self.is_moving {
            true => sockets > END_AT * mean && excess > SPARE / 2.0,
            false => sockets > BEGIN_ABOVE * mean && excess > SPARE,
        };
        if !self.is_moving {
            return 0;
        }
        (SHARE_A_SECOND * sockets).ceil().min(excess) as usize
    }
}

/// Keeps this gateway's share of the sockets even, until the process ends.
pub async fn run(app: App, gossip: Gossip) {
    let mut rule = Rule::default();
    let mut cpu = Cpu::default();
    let mut asked: VecDeque<(Instant, Vec<Weak<Outbound>>)> = VecDeque::new();
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let own = standing(&app, &mut cpu);
        match gossip.exchange(own).await {
            Ok(peers) => {
                spread(own, &peers, &app.metrics.cluster);
                let count = rule.moves(own, &peers);
                if count > 0 {
                    let movers = app.broadcast.ask_to_move(count, INTERVAL).await;
                    asked.push_back((Instant::now() + INTERVAL + PATIENCE, movers));
                }
            }
            // Nobody moves on old news.
            Err(error) => tracing::debug!(%error, "how the others stand is not known"),
        }
        while asked.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let movers = asked.pop_front().map(|(_, movers)| movers);
            for outbound in movers.iter().flatten().filter_map(Weak::upgrade) {
                outbound.close(Close::Rebalance);
            }
        }
    }
}

fn standing(app: &App, cpu: &mut Cpu) -> Standing {
    let sockets = app.metrics.ready();
    Standing {
        sockets: usize::try_from(sockets).unwrap_or(0),
        opened: app.metrics.opened.get(),
        ready: !app.is_draining(),
        millicores: cpu.millicores(),
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "counts of sockets")]
mod tests {
    use super::*;

    const fn gateway(sockets: usize) -> Standing {
        Standing {
            sockets,
            opened: sockets as u64,
            ready: true,
            millicores: 0,
        }
    }

    fn moves(sockets: usize, peers: &[usize]) -> usize {
        let peers: Vec<_> = peers.iter().map(|sockets| gateway(*sockets)).collect();
        settled(sockets).moves(gateway(sockets), &peers)
    }

    /// A gateway that has had so many sockets for some time.
    const fn settled(sockets: usize) -> Rule {
        Rule {
            is_moving: false,
            unproved_for: 0,
            told: sockets,
        }
    }

    #[test]
    fn a_crowd_that_has_just_come_to_all_moves_nobody() {
        let mut rule = settled(0);
        // The other one told of its sockets just before they came.
        assert_eq!(rule.moves(gateway(4_000), &[gateway(0)]), 0);
        assert_eq!(rule.moves(gateway(4_000), &[gateway(4_000)]), 0);
        assert_eq!(rule.moves(gateway(4_000), &[gateway(1_000)]), 160);
    }

    #[test]
    fn who_has_far_more_than_the_mean_moves_some() {
        assert_eq!(moves(4_000, &[1_000]), 160);
        assert_eq!(moves(1_100, &[1_000]), 0, "not far enough");
        assert_eq!(moves(1_000, &[4_000]), 0);
        assert_eq!(moves(4_000, &[]), 0, "nowhere to go");
        assert_eq!(moves(9, &[1]), 0, "not worth it");
        assert_eq!(moves(100, &[70]), 4, "no more than is too much");
    }

    #[test]
    fn moving_goes_on_below_where_it_began() {
        let mut rule = Rule::default();
        let mut moves = |sockets| {
            rule.told = sockets;
            rule.moves(gateway(sockets), &[gateway(1_000)])
        };
        assert_eq!(moves(1_100), 0);
        assert!(moves(1_500) > 0);
        assert!(moves(1_100) > 0);
        assert_eq!(moves(1_010), 0);
        assert_eq!(moves(1_100), 0);
    }

    #[test]
    fn a_peer_proves_itself_with_one_socket_a_second() {
        let unproved = Standing {
            sockets: 0,
            opened: 0,
            ready: true,
            millicores: 0,
        };
        assert_eq!(settled(8).moves(gateway(8), &[unproved]), 0, "not worth it");
        let mut rule = settled(4_000);
        let mut all = (0..5).map(|_| rule.moves(gateway(4_000), &[unproved]));
        assert_eq!(all.next(), Some(0), "one may come by itself");
        assert!(all.eq([0, 0, 1, 1]));
        let away = Standing {
            ready: false,
            ..unproved
        };
        assert_eq!(rule.moves(gateway(4_000), &[away]), 0);
        let leaving = Standing {
            ready: false,
            ..gateway(4_000)
        };
        assert_eq!(rule.moves(leaving, &[gateway(0)]), 0);
    }

    /// What NGINX does with `random two least_conn`.
    fn open(gateways: &mut [Standing], random: &mut u64) {
        let mut draw = || {
            *random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (*random >> 33) as usize % gateways.len()
        };
        let (one, two) = (draw(), draw());
        let less = if gateways[one].sockets <= gateways[two].sockets {
            one
        } else {
            two
        };
        gateways[less].sockets += 1;
        gateways[less].opened += 1;
    }

    fn variation(gateways: &[Standing]) -> f64 {
        let count = gateways.len() as f64;
        let mean = gateways.iter().map(|it| it.sockets as f64).sum::<f64>() / count;
        let squares = gateways.iter().map(|it| (it.sockets as f64 - mean).powi(2));
        (squares.sum::<f64>() / count).sqrt() / mean
    }

    #[test]
    fn a_doubled_cluster_is_even_within_a_minute() {
        for seed in 1..=20 {
            let mut random = seed;
            let mut gateways = [gateway(4_000), gateway(4_000), gateway(0), gateway(0)];
            let mut rules: Vec<Rule> = gateways.iter().map(|_| Rule::default()).collect();
            let mut moved = 0;
            for _second in 0..60 {
                let told = gateways;
                for (n, rule) in rules.iter_mut().enumerate() {
                    let peers: Vec<_> = (0..4).filter(|m| *m != n).map(|m| told[m]).collect();
                    let count = rule.moves(told[n], &peers);
                    moved += count;
                    for _ in 0..count {
                        open(&mut gateways, &mut random);
                        gateways[n].sockets -= 1;
                    }
                }
            }
            let variation = variation(&gateways);
            assert!(
                variation <= 0.15,
                "seed {seed}: {variation:.3}, {gateways:?}"
            );
            assert!(moved < 8_000, "seed {seed}: {moved} moves");
            let total: usize = gateways.iter().map(|it| it.sockets).sum();
            assert_eq!(total, 8_000);
        }
    }
}
