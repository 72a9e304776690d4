-- What runs are made of, so that a request can join the run that is making the same. Only adds: servers of the version before
-- write runs without it, which are then never joined.

ALTER TABLE runs ADD COLUMN content_key bytea;
-- The secret that the fingerprints were made with. Those of another one can't be compared.
ALTER TABLE runs ADD COLUMN content_key_id text;
-- Fingerprints by part.
ALTER TABLE runs ADD COLUMN content_parts jsonb;
-- Why it was made although the request asked about other runs; NULL: it did not.
ALTER TABLE runs ADD COLUMN dedupe jsonb;
ALTER TABLE runs ADD CONSTRAINT runs_content_is_whole CHECK (
    (content_key IS NULL) = (content_key_id IS NULL) AND (content_key IS NULL) = (content_parts IS NULL)
    AND length(content_key) = 32);
CREATE INDEX runs_by_content ON runs (content_key, created_at DESC, id DESC) WHERE content_key IS NOT NULL;

-- Requests that got a run which was there already; append-only.
CREATE TABLE run_joins (
    id uuid PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES runs (id),
    at timestamptz NOT NULL,
    principal text NOT NULL,
    request_id text,
    mode text NOT NULL CHECK (mode IN ('join', 'reuse')),
    outcome text NOT NULL CHECK (outcome IN ('joined', 'reused')),
    reason text NOT NULL,
    CHECK (mode = 'reuse' OR outcome = 'joined')
);
CREATE INDEX run_joins_by_run ON run_joins (run_id, at, id);
CREATE TRIGGER run_joins_append_only BEFORE UPDATE OR DELETE ON run_joins FOR EACH ROW EXECUTE FUNCTION refuse_change();
