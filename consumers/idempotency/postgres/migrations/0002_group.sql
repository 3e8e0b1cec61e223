-- The group that the schema is of, and which region it is active in. One row.
CREATE TABLE consumer_group (
    one       boolean     PRIMARY KEY DEFAULT true CHECK (one),
    name      text        NOT NULL,
    width     int         NOT NULL,
    region    text        NOT NULL,
    turn      bigint      NOT NULL DEFAULT 1, -- how often the region was set
    turned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    store     text        NOT NULL DEFAULT gen_random_uuid()::text -- names these marks
);

-- The members that were seen of late. What one said last holds until then.
CREATE TABLE member (
    name    text        PRIMARY KEY,
    region  text        NOT NULL,
    seen_at timestamptz NOT NULL,
    until   timestamptz NOT NULL
);

-- Who owns a durable, under which epoch: that of its row in fence. Nobody's is one without a member.
CREATE TABLE lease (
    durable text        PRIMARY KEY,
    member  text        NOT NULL,
    region  text        NOT NULL,
    epoch   bigint      NOT NULL,
    until   timestamptz NOT NULL
);

-- How far a durable has come in the events of an origin, those that replicate (g) and those that do not (l). A sequence of 0
-- is not known: the event is.
CREATE TABLE group_position (
    durable  text   NOT NULL,
    origin   text   NOT NULL,
    scope    text   NOT NULL CHECK (scope IN ('g', 'l')),
    seq      bigint NOT NULL,
    event_id text   NOT NULL,
    PRIMARY KEY (durable, origin, scope)
);
