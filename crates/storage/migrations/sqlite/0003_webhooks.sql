-- Accounts that were made for incoming webhooks. They stay what they are for ever: members of one
-- channel at most, owners of none, and nobody logs in to them.
CREATE TABLE webhooks (
    account    BLOB PRIMARY KEY REFERENCES accounts (id),
    channel    BLOB NOT NULL REFERENCES channels (id),
    id         BLOB UNIQUE,         -- UUIDv7, 16 bytes; null: deleted
    secret     BLOB,                -- SHA-256 of the secret in its URL; null: deleted
    created_at INTEGER NOT NULL     -- ms since 1970
) WITHOUT ROWID;
CREATE INDEX webhooks_by_channel ON webhooks (channel, id);
