//! Whether Redis answers.

use super::Redis;

impl Redis {
    /// Whether the server answers now. It takes no longer than a round of commands may.
    pub async fn is_reachable(&self) -> bool {
        let Ok(connection) = self.connection().await else {
            return false;
        };
        self.one(&connection, redis::cmd("PING")).await.is_ok()
    }
}
