//! A database of its own for a test.

use tempfile::TempDir;

use banter_protocol::id::{ChannelId, UserId};

use super::Sqlite;
use crate::entries::sqlite::kind;

/// Opens a new file, which lives as long as the directory.
pub(crate) async fn database() -> (TempDir, Sqlite) {
    let directory = TempDir::new().unwrap();
    let database = Sqlite::open(&directory.path().join("banter.db"))
        .await
        .unwrap();
    (directory, database)
}

impl Sqlite {
    /// Makes an account whose id consists of `n`s.
    pub(crate) async fn account(&self, n: u8, username: &str) -> UserId {
        let user = UserId::from_bytes([n; 16]);
        let mut writer = self.writer().await;
        sqlx::query(
            "INSERT INTO accounts (id, username, password, created_at) VALUES (?1, ?2, '', 0)",
        )
        .bind(&user.as_bytes()[..])
        .bind(username)
        .execute(&mut *writer)
        .await
        .unwrap();
        user
    }

    /// Writes `count` further messages of `user`.
    pub(crate) async fn messages(&self, channel: ChannelId, user: UserId, count: u32) {
        let mut writer = self.writer().await;
        sqlx::query(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers \
                                            WHERE n < ?4), \
             top (seq) AS (SELECT ifnull(max(seq), 0) FROM entries WHERE channel = ?1) \
             INSERT INTO entries (channel, seq, epoch, sent_at, kind, user, id, body) \
             SELECT ?1, top.seq + n, 1, 1000 * n, ?3, ?2, 'id-' || (top.seq + n), 'body ' || n \
             FROM numbers, top",
        )
        .bind(&channel.as_bytes()[..])
        .bind(&user.as_bytes()[..])
        .bind(kind::MESSAGE)
        .bind(count)
        .execute(&mut *writer)
        .await
        .unwrap();
    }

    /// Makes `user` a member as the log does: with an entry.
    pub(crate) async fn join(&self, channel: ChannelId, user: UserId) {
        let mut writer = self.writer().await;
        for sql in [
            "INSERT INTO entries (channel, seq, epoch, sent_at, kind, user) \
             SELECT ?1, ifnull(max(seq), 0) + 1, 1, 7, 2, ?2 FROM entries WHERE channel = ?1",
            "INSERT INTO members (channel, user, seq, epoch, since) \
             SELECT ?1, ?2, max(seq), 1, 7 FROM entries WHERE channel = ?1",
        ] {
            sqlx::query(sql)
                .bind(&channel.as_bytes()[..])
                .bind(&user.as_bytes()[..])
                .execute(&mut *writer)
                .await
                .unwrap();
        }
    }
}
