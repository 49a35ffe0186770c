//! Channels and members as answers show them.

use banter_protocol::id::{ChannelId, Epoch, Seq, UserId};
use banter_protocol::limit;
use banter_protocol::text::{ChannelName, Topic, Username};
use banter_protocol::time::Timestamp;
use banter_storage::channels::{Channel, Member};
use serde::Serialize;
use utoipa::ToSchema;

/// A channel as the account that asks sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Channel)]
pub(super) struct ChannelView {
    /// For ever.
    #[schema(value_type = String, format = Uuid)]
    pub id: ChannelId,
    /// Unique among public channels under Unicode case folding.
    #[schema(value_type = String, min_length = 1, max_length = 80)]
    pub name: ChannelName,
    /// What it is about; may be empty.
    #[schema(value_type = String, max_length = 1024)]
    pub topic: Topic,
    /// Whether only its members see it.
    pub private: bool,
    /// The owner's username; null when nobody is left.
    #[schema(value_type = Option<String>, required, pattern = "^[a-z0-9._-]{3,32}$")]
    pub owner: Option<Username>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Number of its newest entry.
    #[schema(value_type = u64, minimum = 1)]
    pub seq: Seq,
    /// Epoch of its newest entry.
    #[schema(value_type = u64)]
    pub epoch: Epoch,
    /// Whether the account that asks is a member.
    pub joined: bool,
}

// The schemas can name limits as literals only.
const _: () = assert!(limit::CHANNEL_NAME_CHARS_MAX == 80);
const _: () = assert!(limit::TOPIC_CHARS_MAX == 1024);
const _: () = assert!(limit::USERNAME_CHARS_MIN == 3 && limit::USERNAME_CHARS_MAX == 32);

impl From<Channel> for ChannelView {
    fn from(channel: Channel) -> Self {
        Self {
            id: channel.id,
            name: channel.name,
            topic: channel.topic,
            private: channel.private,
            owner: channel.owner.map(|owner| owner.username),
            created_at: channel.created_at,
            seq: channel.head.seq,
            epoch: channel.head.epoch,
            joined: channel.joined,
        }
    }
}

/// A member of a channel.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub(super) struct MemberView {
    /// The account.
    #[schema(value_type = String, format = Uuid)]
    pub id: UserId,
    /// Its name.
    #[schema(value_type = String, pattern = "^[a-z0-9._-]{3,32}$")]
    pub username: Username,
    /// What it may do.
    pub role: Role,
    /// When it joined.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// What a member may do in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// Removes others, and adds to a public channel. One a channel.
    Owner,
    /// Reads, writes, and adds to a private channel.
    Member,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        Self {
            id: member.id,
            username: member.username,
            role: if member.owner {
                Role::Owner
            } else {
                Role::Member
            },
            since: member.since,
        }
    }
}

/// Where in a channel its live entries begin for somebody.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Subscription {
    /// The channel.
    #[schema(value_type = String, format = Uuid)]
    pub channel: ChannelId,
    /// Number of the `joined` entry.
    #[schema(value_type = u64, minimum = 1)]
    pub seq: Seq,
    /// Its epoch.
    #[schema(value_type = u64)]
    pub epoch: Epoch,
}
