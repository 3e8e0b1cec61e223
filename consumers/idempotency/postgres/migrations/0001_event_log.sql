-- Every event whose effect is committed. A partition is a generation: the day on which it was opened. Events are
-- only inserted into the newest one, whose own unique indexes decide between transactions; older ones do not change.
-- Names are compared byte by byte, whatever the database's language is: what is unique must not depend on it.
CREATE TABLE event_log (
    generation   date             NOT NULL,
    event_id     text COLLATE "C" NOT NULL,
    digest       bytea            NOT NULL, -- event.Digest: SHA-256 of what it says
    source       text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    source_epoch bigint           NOT NULL, -- beyond 2^63-1 this and the next are negative: 2^64 less
    source_seq   bigint,                    -- NULL: its source does not count, or is not known
    origin       text COLLATE "C" NOT NULL, -- region_epoch that accepted it, and its place in that region's stream
    origin_seq   bigint           NOT NULL,
    occurred_at  timestamptz,               -- as the producer says
    ingested_at  timestamptz,               -- as the relay says
    applied_at   timestamptz      NOT NULL DEFAULT transaction_timestamp(),
    topic        text COLLATE "C",          -- from here on: where the log keeps the events themselves
    event_type   text COLLATE "C",
    event        json                       -- the producer's bytes as they came
) PARTITION BY LIST (generation);

-- The newest row is where events are inserted.
CREATE TABLE generation (
    generation date        PRIMARY KEY,
    opened_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The highest epoch under which a durable was owned.
CREATE TABLE fence (
    durable text   PRIMARY KEY,
    epoch   bigint NOT NULL
);
