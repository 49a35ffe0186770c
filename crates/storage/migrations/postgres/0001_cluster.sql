-- Everything that a cluster keeps. Times are milliseconds since 1970, as everywhere in Banter.
-- Texts that are compared by a program are collated by their bytes, whatever the database's
-- locale: cheaper, the same order as in SQLite, and no index breaks when a locale is updated.

-- Who may log in, what is logged in, and what signs their access tokens.

CREATE TABLE accounts (
    id         uuid PRIMARY KEY,                  -- UUIDv7
    username   text COLLATE "C" NOT NULL UNIQUE,  -- folded to lower case
    password   text NOT NULL,                     -- argon2id, as a PHC string
    created_at bigint NOT NULL,
    disabled   boolean NOT NULL DEFAULT false
);

-- One login and what its refresh tokens prolong. A row that is gone is a session that has ended.
CREATE TABLE sessions (
    id         uuid PRIMARY KEY,                  -- UUIDv7
    account    uuid NOT NULL REFERENCES accounts (id),
    -- Refresh tokens are derived from this, the server's secret and the generation. So neither
    -- they nor their hashes are stored, and one of any age is recognised.
    seed       bytea NOT NULL,                    -- 32 random bytes
    generation bigint NOT NULL,                   -- of the newest refresh token, from 1
    created_at bigint NOT NULL,
    rotated_at bigint NOT NULL                    -- when the newest refresh token came into being
);
CREATE INDEX sessions_by_account ON sessions (account);

CREATE TABLE signing_keys (
    kid        text COLLATE "C" PRIMARY KEY,      -- RFC 7638 thumbprint
    state      smallint NOT NULL,                 -- 1 next, 2 active, 3 retired
    public     bytea NOT NULL,                    -- Ed25519, 32 bytes
    sealed     bytea NOT NULL,                    -- the private key, encrypted with the secret
    created_at bigint NOT NULL,                   -- when it was published
    since      bigint NOT NULL                    -- when it came into this state
);
CREATE UNIQUE INDEX signing_keys_one_next ON signing_keys (state) WHERE state = 1;
CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (state) WHERE state = 2;

-- What every process that accepts access tokens must hear of, in the order in which it happened.
-- Who writes here holds an advisory lock from before the number is drawn until after the commit:
-- without it a later number may be committed first, and who follows the numbers passes over the
-- earlier one for ever.
CREATE TABLE revocations (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      bigint NOT NULL,
    -- 1 session ended, 2 account disabled, 3 account enabled, 4 keys rotated, 5 keys replaced
    kind    smallint NOT NULL,
    subject uuid                                  -- the session or account
);

-- Failed logins by the name that was tried, whether or not it is an account's. Not logged: a
-- guesser must not make the database write to its disk, and a crash that forgives harms nobody.
CREATE UNLOGGED TABLE login_failures (
    name       bytea PRIMARY KEY,                 -- 16 bytes of a hash
    recent     bigint[] NOT NULL,                 -- times of the last failures, ascending
    level      bigint NOT NULL,                   -- failures that were not free
    until      bigint NOT NULL,                   -- when the next attempt may be made
    changed_at bigint NOT NULL
);

-- Channels, their members, and everything that happened in them.

CREATE TABLE channels (
    id         uuid PRIMARY KEY,                  -- UUIDv7
    name       text NOT NULL,
    -- Public ones only: the name under case folding, so that two cannot look alike.
    name_key   text COLLATE "C" UNIQUE,
    topic      text NOT NULL,
    private    boolean NOT NULL,
    owner      uuid REFERENCES accounts (id),     -- null: nobody is left
    created_at bigint NOT NULL
);
-- A list of channels is the public ones and the reader's own: it never walks the private ones of
-- others.
CREATE INDEX channels_public ON channels (id) WHERE NOT private;

CREATE TABLE members (
    channel uuid NOT NULL REFERENCES channels (id),
    account uuid NOT NULL REFERENCES accounts (id),
    -- Number and time of the entry that made them a member.
    seq     bigint NOT NULL,
    epoch   bigint NOT NULL,
    since   bigint NOT NULL,
    PRIMARY KEY (channel, account)
);
-- Every `hello` asks for a user's channels.
CREATE INDEX members_by_account ON members (account, channel);

CREATE TABLE barred (
    channel uuid NOT NULL REFERENCES channels (id),
    account uuid NOT NULL REFERENCES accounts (id),
    PRIMARY KEY (channel, account)
);

-- Partitioned, so that vacuum, reindexing and the right edge of an index are each a sixteenth of
-- the whole. No references: entries outlive what they name, and a check for each row would cost
-- as much as the row.
CREATE TABLE entries (
    channel    uuid NOT NULL,
    seq        bigint NOT NULL,
    epoch      bigint NOT NULL,
    sent_at    bigint NOT NULL,
    kind       smallint NOT NULL,                 -- 1 message, 2 joined, 3 left, 4 tombstone
    account    uuid,                              -- author, or whose membership changed
    by_account uuid,                              -- the owner who removed them
    id         text COLLATE "C",                  -- the author's id for a message
    body       text,
    PRIMARY KEY (channel, seq)
) PARTITION BY HASH (channel);

DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format('CREATE TABLE entries_%s PARTITION OF entries '
                       'FOR VALUES WITH (MODULUS 16, REMAINDER %s)', part, part);
    END LOOP;
END
$$;

-- A retry is not a duplicate. The key must hold the channel, by which the table is partitioned, but
-- it begins with the id: UUIDv7s are then appended at the right edge of each partition's index,
-- where the channel first would scatter them over as many leaves as there are channels.
CREATE UNIQUE INDEX entries_once ON entries (id, channel, account) WHERE id IS NOT NULL;

-- The history that new entries of a shard are written in. `epoch` runs ahead of `installed` while
-- the log is being told. A worker locks the rows of its shards and finds its epoch there, or writes
-- nothing.
CREATE TABLE shards (
    shard     smallint PRIMARY KEY,
    epoch     bigint NOT NULL,
    installed bigint NOT NULL
);
INSERT INTO shards SELECT shard, 0, 0 FROM generate_series(0, 15) AS shard;

-- Accepted entries whose content could not be stored; a tombstone stands in their place.
CREATE TABLE rejected (
    shard   smallint NOT NULL,
    channel uuid NOT NULL,
    seq     bigint NOT NULL,
    epoch   bigint NOT NULL,                      -- of the shard when it was found
    raw     bytea NOT NULL,                       -- what stood in the log
    reason  text NOT NULL,
    at      bigint NOT NULL,
    PRIMARY KEY (channel, seq, epoch)
);
