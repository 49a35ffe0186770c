//! What is over before its access tokens are: ended sessions and disabled accounts, as far as a
//! token of theirs can still be about.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use banter_protocol::id::{SessionId, UserId};
use banter_protocol::time::Timestamp;
use banter_storage::revocations::{Change, Revocation};
use tokio::sync::broadcast;

/// Announcements that a listener may be behind; one that is further behind asks about each of its
/// sockets again.
const ANNOUNCEMENTS: usize = 1024;

/// Whose sockets must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// Those of this session: it has ended.
    Session(SessionId),
    /// Those of this account: it is disabled.
    User(UserId),
    /// All: the keys that signed their tokens are good no more. They may come back with new ones.
    Everyone,
}

/// Why a well-signed token is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Its session has ended.
    Session,
    /// Its account is disabled.
    Account,
}

/// All that is over.
#[derive(Debug)]
pub struct Revoking {
    over: RwLock<Lists>,
    announce: broadcast::Sender<Revoked>,
}

#[derive(Debug, Default)]
struct Lists {
    sessions: HashMap<SessionId, Timestamp>,
    disabled: HashMap<UserId, Timestamp>,
}

impl Default for Revoking {
    fn default() -> Self {
        Self {
            over: RwLock::default(),
            announce: broadcast::Sender::new(ANNOUNCEMENTS),
        }
    }
}

impl Revoking {
    /// Whether a token's session and account are still good.
    ///
    /// # Errors
    /// Which is not; the account, when both are not.
    pub fn check(&self, user: UserId, session: SessionId) -> Result<(), Over> {
        let over = self.read();
        if over.disabled.contains_key(&user) {
            Err(Over::Account)
        } else if over.sessions.contains_key(&session) {
            Err(Over::Session)
        } else {
            Ok(())
        }
    }

    /// Takes note of a change, and announces it to who holds sockets, once.
    pub fn apply(&self, revocation: &Revocation) {
        let at = revocation.at;
        let revoked = match revocation.change {
            Change::SessionEnded(session) => {
                let known = self.write().sessions.insert(session, at).is_some();
                (!known).then_some(Revoked::Session(session))
            }
            Change::Disabled(user) => {
                let known = self.write().disabled.insert(user, at).is_some();
                (!known).then_some(Revoked::User(user))
            }
            Change::Enabled(user) => {
                self.write().disabled.remove(&user);
                None
            }
            Change::KeysRotated => None,
            Change::KeysReplaced => Some(Revoked::Everyone),
        };
        if let Some(revoked) = revoked {
            // An error means that nobody listens.
            let _ = self.announce.send(revoked);
        }
    }

    /// Forgets what was over before `since`: no token of theirs is about.
    pub fn forget(&self, since: Timestamp) {
        let mut over = self.write();
        over.sessions.retain(|_, at| *at >= since);
        over.disabled.retain(|_, at| *at >= since);
    }

    /// Hears of everything from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Revoked> {
        self.announce.subscribe()
    }

    fn read(&self) -> RwLockReadGuard<'_, Lists> {
        self.over.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Lists> {
        self.over.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, change: Change) -> Revocation {
        Revocation {
            id: 1,
            at: Timestamp::from_ms(seconds * 1000),
            change,
        }
    }

    #[test]
    fn a_change_is_announced_once_and_forgotten_in_time() {
        let revoking = Revoking::default();
        let mut heard = revoking.subscribe();
        let user = UserId::from_bytes([1; 16]);
        let session = SessionId::from_bytes([2; 16]);
        assert_eq!(revoking.check(user, session), Ok(()));
        for _ in 0..2 {
            revoking.apply(&at(5, Change::SessionEnded(session)));
        }
        assert_eq!(revoking.check(user, session), Err(Over::Session));
        revoking.apply(&at(6, Change::Disabled(user)));
        assert_eq!(revoking.check(user, session), Err(Over::Account));
        revoking.apply(&at(7, Change::Enabled(user)));
        assert_eq!(revoking.check(user, session), Err(Over::Session));
        revoking.apply(&at(8, Change::KeysRotated));
        revoking.apply(&at(9, Change::KeysReplaced));
        assert_eq!(heard.try_recv(), Ok(Revoked::Session(session)));
        assert_eq!(heard.try_recv(), Ok(Revoked::User(user)));
        assert_eq!(heard.try_recv(), Ok(Revoked::Everyone));
        assert!(heard.try_recv().is_err());
        revoking.forget(Timestamp::from_ms(5_000));
        assert_eq!(revoking.check(user, session), Err(Over::Session));
        revoking.forget(Timestamp::from_ms(5_001));
        assert_eq!(revoking.check(user, session), Ok(()));
    }
}
