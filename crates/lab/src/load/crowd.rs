//! Who is in which channel of a load.

use super::chance::Chance;
use super::profile::Channels;

/// The members of each channel, by their numbers; the channel of everybody is the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crowd {
    /// Members of a channel.
    pub channels: Vec<Vec<u32>>,
    /// Whether the first one is everybody's.
    pub everybody: bool,
}

impl Crowd {
    /// So many users in channels of these sizes. The same users are in the same channels whenever
    /// it is asked again.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of what is far below 2^52"
    )]
    pub fn new(wish: &Channels, users: u32) -> Self {
        let mut channels = Vec::new();
        if wish.everybody {
            channels.push((0..users).collect());
        }
        let mut chance = Chance::new(u64::from(users));
        for (size, share) in &wish.sizes {
            let size = (*size).min(users);
            let memberships = f64::from(users) * f64::from(wish.memberships) * share / 100.0;
            let mut left = memberships.round() as u32;
            while left > 0 {
                // Everybody once, in another order each time, and cut into pieces.
                let mut all: Vec<u32> = (0..users).collect();
                chance.shuffle(&mut all);
                for members in all.chunks(size as usize) {
                    if left == 0 {
                        break;
                    }
                    left = left.saturating_sub(members.len() as u32);
                    channels.push(members.to_vec());
                }
            }
        }
        Self {
            channels,
            everybody: wish.everybody,
        }
    }

    /// The channels of each user.
    #[must_use]
    pub fn by_user(&self, users: u32) -> Vec<Vec<u32>> {
        let mut by_user = vec![Vec::new(); users as usize];
        for (channel, members) in (0..).zip(&self.channels) {
            for member in members {
                if let Some(channels) = by_user.get_mut(*member as usize) {
                    channels.push(channel);
                }
            }
        }
        by_user
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_have_the_sizes_that_were_asked_for() {
        let wish = Channels {
            everybody: true,
            everybody_share: 5.0,
            memberships: 4,
            sizes: vec![(5, 50.0), (20, 50.0)],
        };
        let crowd = Crowd::new(&wish, 100);
        assert_eq!(crowd, Crowd::new(&wish, 100));
        assert_eq!(crowd.channels[0].len(), 100);
        let of = |size| crowd.channels.iter().filter(|c| c.len() == size).count();
        assert_eq!((of(5), of(20)), (40, 10));
        let by_user = crowd.by_user(100);
        assert!(by_user.iter().all(|channels| channels.len() == 5));
    }
}
