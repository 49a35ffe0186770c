-- Accounts that were made for incoming webhooks. They stay what they are for ever: members of one
-- channel at most, owners of none, and nobody logs in to them.
CREATE TABLE webhooks (
    account    uuid PRIMARY KEY REFERENCES accounts (id),
    channel    uuid NOT NULL REFERENCES channels (id),
    id         uuid UNIQUE,                       -- UUIDv7; null: deleted
    secret     bytea,                             -- SHA-256 of the secret in its URL; null: deleted
    created_at bigint NOT NULL
);
CREATE INDEX webhooks_by_channel ON webhooks (channel, id);
