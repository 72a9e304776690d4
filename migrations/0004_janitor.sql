-- What the janitor did and found. Only adds: servers of the version before go on working.

CREATE TABLE janitor_sweeps (
    id uuid PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('asked', 'running', 'done', 'interrupted', 'abandoned')),
    -- Who asked for it; NULL: nobody, it was time.
    asked_by text,
    dry_run boolean NOT NULL,
    -- NULL: all of them.
    account text,
    region text,
    asked_at timestamptz NOT NULL,
    begun_at timestamptz,
    ended_at timestamptz,
    -- The server that carried it out, for people.
    server text,
    -- What the configuration of that server said: SweepSettings.
    settings jsonb,
    -- How it went in each account and region: a list of SweptPlace.
    places jsonb NOT NULL DEFAULT '[]',
    CHECK ((state IN ('asked', 'abandoned')) = (begun_at IS NULL)),
    CHECK ((state IN ('asked', 'running')) = (ended_at IS NULL)),
    CHECK ((begun_at IS NULL) = (server IS NULL) AND (begun_at IS NULL) = (settings IS NULL)),
    CHECK (asked_at <= begun_at AND begun_at <= ended_at)
);
-- One waits at most: a second one would find nothing that the first does not.
CREATE UNIQUE INDEX janitor_sweeps_one_waits ON janitor_sweeps (state) WHERE state = 'asked';
CREATE INDEX janitor_sweeps_by_time ON janitor_sweeps (begun_at DESC) WHERE begun_at IS NOT NULL;

CREATE TABLE janitor_findings (
    id uuid PRIMARY KEY,
    account text NOT NULL,
    region text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('instance', 'image', 'snapshot', 'volume', 'network-interface', 'security-group', 'key-pair')),
    resource_id text NOT NULL,
    name text,
    why text NOT NULL CHECK (why IN ('left-behind', 'unknown-build', 'held', 'packer-leftover')),
    -- As its tag says: not always a build of this database.
    build_id uuid,
    tags jsonb NOT NULL,
    -- When it was made, where the cloud or its name tells.
    created_at timestamptz,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    -- When it was removed, or not seen any more.
    gone_at timestamptz,
    -- An estimate; NULL: not known.
    usd_per_hour double precision CHECK (usd_per_hour >= 0),
    action text NOT NULL CHECK (action IN ('removed', 'reported', 'would-remove', 'waiting', 'failed')),
    -- The error, or why nothing was done.
    detail text,
    -- The last sweep that saw it.
    sweep_id uuid NOT NULL,
    CHECK (first_seen_at <= last_seen_at AND last_seen_at <= gone_at),
    CHECK (action <> 'removed' OR gone_at IS NOT NULL),
    CHECK (action <> 'failed' OR detail IS NOT NULL)
);
CREATE UNIQUE INDEX janitor_findings_open ON janitor_findings (account, region, kind, resource_id) WHERE gone_at IS NULL;
CREATE INDEX janitor_findings_newest ON janitor_findings (first_seen_at DESC, id DESC);
CREATE INDEX janitor_findings_by_sweep ON janitor_findings (sweep_id);
