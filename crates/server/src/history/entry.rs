//! Entries as the interface document shows them; `banter_protocol::entry::Entry` writes them.

use utoipa::ToSchema;

/// Something that happened in a channel. An unknown `type` with `channel`, `seq` and `sent_at` is a
/// newer kind of entry: count it and step over it.
#[derive(ToSchema)]
#[schema(as = Entry)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum EntryForm {
    /// Somebody wrote.
    Message(MessageEntry),
    /// Somebody became a member.
    Joined(JoinedEntry),
    /// Somebody's membership ended.
    Left(LeftEntry),
    /// An accepted entry whose content could not be stored.
    Tombstone(TombstoneEntry),
}

macro_rules! form {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(ToSchema)]
        #[expect(dead_code, reason = "only its schema is used")]
        pub(super) struct $name {
            /// The channel.
            #[schema(format = Uuid)]
            channel: String,
            /// Its number in the channel.
            #[schema(minimum = 1)]
            seq: u64,
            /// The epoch it was written in.
            epoch: u64,
            $($(#[$field_doc])* $field: $kind,)*
            /// When the server took it.
            #[schema(format = DateTime)]
            sent_at: String,
        }
    };
}

form!(
    /// A message.
    MessageEntry {
        /// The author's own id for it.
        #[schema(min_length = 1, max_length = 64)]
        id: String,
        /// Who wrote.
        author: String,
        /// What.
        #[schema(min_length = 1, max_length = 16384)]
        body: String,
    }
);
form!(
    /// A membership that began.
    JoinedEntry {
        /// Whose.
        user: String,
    }
);
form!(
    /// A membership that ended.
    LeftEntry {
        /// Whose.
        user: String,
        /// The owner who ended it; absent when the member left.
        #[schema(nullable = false)]
        by: Option<String>,
    }
);
form!(
    /// A number whose content is lost.
    TombstoneEntry {}
);
