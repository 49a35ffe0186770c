-- Who may log in, what is logged in, and what signs their access tokens.

CREATE TABLE accounts (
    id         BLOB PRIMARY KEY,        -- UUIDv7, 16 bytes
    username   TEXT NOT NULL UNIQUE,    -- folded to lower case
    password   TEXT NOT NULL,           -- argon2id, as a PHC string
    created_at INTEGER NOT NULL,        -- ms since 1970
    disabled   INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- One login and what its refresh tokens prolong. A row that is gone is a session that has ended.
CREATE TABLE sessions (
    id         BLOB PRIMARY KEY,        -- UUIDv7, 16 bytes
    user       BLOB NOT NULL REFERENCES accounts (id),
    -- Refresh tokens are derived from this, the server's secret and the generation. So neither
    -- they nor their hashes are stored, and one of any age is recognised.
    seed       BLOB NOT NULL,           -- 32 random bytes
    generation INTEGER NOT NULL,        -- of the newest refresh token, from 1
    created_at INTEGER NOT NULL,        -- ms since 1970
    rotated_at INTEGER NOT NULL         -- when the newest refresh token came into being
) WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user);

CREATE TABLE signing_keys (
    kid        TEXT PRIMARY KEY,        -- RFC 7638 thumbprint
    state      INTEGER NOT NULL,        -- 1 next, 2 active, 3 retired
    public     BLOB NOT NULL,           -- Ed25519, 32 bytes
    sealed     BLOB NOT NULL,           -- the private key, encrypted with the server's secret
    created_at INTEGER NOT NULL,        -- when it was published, ms since 1970
    since      INTEGER NOT NULL         -- when it came into this state
) WITHOUT ROWID;
CREATE UNIQUE INDEX signing_keys_one_next ON signing_keys (state) WHERE state = 1;
CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (state) WHERE state = 2;

-- What every process that accepts access tokens must hear of, in the order in which it happened.
CREATE TABLE revocations (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,           -- ms since 1970
    -- 1 session ended, 2 account disabled, 3 account enabled, 4 keys rotated, 5 keys replaced
    kind    INTEGER NOT NULL,
    subject BLOB                        -- the session or account
);
