-- Templates, runs, builds with their journal, images, tokens. Invariants live here: what this schema refuses can't happen.

CREATE TABLE deployment (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    only_one boolean NOT NULL DEFAULT true UNIQUE CHECK (only_one)
);

-- Bundles, manifests and downloads, by content.
CREATE TABLE blobs (
    sha256 bytea PRIMARY KEY CHECK (length(sha256) = 32),
    bytes bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE templates (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
    description text NOT NULL DEFAULT '',
    -- The account its runs use when they name none.
    account text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE template_versions (
    id uuid PRIMARY KEY,
    template_id uuid NOT NULL REFERENCES templates (id),
    version integer NOT NULL CHECK (version > 0),
    -- SHA-256 over the sorted (path, executable bit, file hash).
    content_hash text NOT NULL CHECK (content_hash ~ '^[0-9a-f]{64}$'),
    blob_sha256 bytea NOT NULL REFERENCES blobs (sha256),
    -- Paths, sizes, declared variables and builds, as the API shows them.
    outline jsonb NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (template_id, version)
);

CREATE TABLE families (
    name text PRIMARY KEY,
    next_number bigint NOT NULL DEFAULT 1 CHECK (next_number > 0)
);

CREATE TABLE images (
    id uuid PRIMARY KEY,
    family text NOT NULL REFERENCES families (name),
    number bigint NOT NULL CHECK (number > 0),
    state text NOT NULL CHECK (state IN ('building', 'built', 'incomplete')),
    sha text NOT NULL,
    built_at timestamptz NOT NULL,
    os text,
    builder text NOT NULL,
    source_image jsonb,
    created_at timestamptz NOT NULL,
    UNIQUE (family, number)
);
CREATE INDEX images_newest ON images (created_at DESC, id DESC);

CREATE TABLE runs (
    id uuid PRIMARY KEY,
    template_id uuid NOT NULL REFERENCES templates (id),
    template_version_id uuid NOT NULL REFERENCES template_versions (id),
    image_id uuid NOT NULL UNIQUE REFERENCES images (id),
    account text NOT NULL,
    trigger text NOT NULL CHECK (trigger IN ('api', 'schedule', 'webhook', 'cascade')),
    state text NOT NULL CHECK (state IN ('queued', 'running', 'unwinding', 'stuck', 'cancelled', 'failed', 'succeeded')),
    -- Evaluated variables; the values of sensitive ones are replaced before they get here.
    variables jsonb NOT NULL DEFAULT '{}',
    git_sha text,
    labels jsonb NOT NULL DEFAULT '{}',
    only_builds text[] NOT NULL DEFAULT '{}',
    except_builds text[] NOT NULL DEFAULT '{}',
    timeout_seconds bigint CHECK (timeout_seconds > 0),
    error jsonb,
    cancel_requested_at timestamptz,
    cancel_requested_by text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    CHECK ((state IN ('cancelled', 'failed', 'succeeded')) = (finished_at IS NOT NULL))
);
CREATE INDEX runs_newest ON runs (created_at DESC, id DESC);
CREATE INDEX runs_by_template ON runs (template_id, created_at DESC, id DESC);
CREATE INDEX runs_active ON runs (state) WHERE state IN ('queued', 'running', 'unwinding', 'stuck');

CREATE TABLE builds (
    id uuid PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES runs (id),
    position integer NOT NULL CHECK (position >= 0),
    name text NOT NULL,
    builder_type text NOT NULL,
    region text NOT NULL,
    plan jsonb NOT NULL,
    -- What a step needs besides its configuration: BuildFacts.
    facts jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'unwinding', 'succeeded', 'failed', 'cancelled', 'stuck')),
    attempt integer NOT NULL DEFAULT 1 CHECK (attempt > 0),
    -- Attempts that an interruption may use up by itself; a retry adds to it.
    attempts_allowed integer NOT NULL DEFAULT 3 CHECK (attempts_allowed > 0),
    cleanup text NOT NULL DEFAULT 'none' CHECK (cleanup IN ('none', 'pending', 'done', 'stuck')),
    -- A person's words for `stuck`, of the build or of its clean-up.
    stuck_reason text,
    error jsonb,
    artifact_id text,
    -- When the janitor looks once more for what an unknown outcome may have left.
    search_again_at timestamptz,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    -- Start of the present attempt's time limit.
    deadline timestamptz,
    finished_at timestamptz,
    UNIQUE (run_id, position),
    UNIQUE (run_id, name),
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK (state <> 'succeeded' OR cleanup <> 'none'),
    CHECK (state <> 'stuck' OR stuck_reason IS NOT NULL)
);
CREATE INDEX builds_queued ON builds (created_at, id) WHERE state = 'queued';
CREATE INDEX builds_at_work ON builds (id) WHERE state IN ('running', 'unwinding') OR (state = 'succeeded' AND cleanup = 'pending');
CREATE INDEX builds_search_again ON builds (search_again_at) WHERE search_again_at IS NOT NULL;

-- Narrow and alone, so that a heartbeat never waits behind a journal transaction for long.
CREATE TABLE build_leases (
    build_id uuid PRIMARY KEY REFERENCES builds (id),
    epoch bigint NOT NULL CHECK (epoch >= 0),
    -- The server that holds it, for people; NULL: nobody.
    owner text,
    -- NULL: free at once.
    expires_at timestamptz,
    CHECK ((owner IS NULL) = (expires_at IS NULL))
) WITH (fillfactor = 70);

-- AES-256-GCM; associated data is the build id and the kind.
CREATE TABLE build_secrets (
    build_id uuid NOT NULL REFERENCES builds (id),
    -- config: evaluated configuration; sensitive: values to mask in logs; key:N: private key of attempt N.
    kind text NOT NULL CHECK (kind IN ('config', 'sensitive') OR kind ~ '^key:[0-9]+$'),
    key_id text NOT NULL,
    nonce bytea NOT NULL CHECK (length(nonce) = 12),
    ciphertext bytea NOT NULL,
    -- Set when the build is over without success.
    delete_after timestamptz,
    PRIMARY KEY (build_id, kind)
);
CREATE INDEX build_secrets_expiring ON build_secrets (delete_after) WHERE delete_after IS NOT NULL;

CREATE TABLE step_journal (
    build_id uuid NOT NULL REFERENCES builds (id),
    seq bigint NOT NULL CHECK (seq > 0),
    attempt integer NOT NULL CHECK (attempt > 0),
    step text,
    event text NOT NULL CHECK (event IN ('started', 'succeeded', 'failed', 'unwinding', 'undo_started', 'undone', 'undo_failed', 'committed')),
    -- The event with its intent, output or failure; never a secret.
    data jsonb NOT NULL,
    epoch bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (build_id, seq),
    CHECK ((step IS NULL) = (event IN ('unwinding', 'committed')))
);
-- A build commits once, whoever believes to own it.
CREATE UNIQUE INDEX step_journal_one_commit ON step_journal (build_id) WHERE event = 'committed';

CREATE TABLE build_log (
    build_id uuid NOT NULL REFERENCES builds (id),
    seq bigint NOT NULL CHECK (seq > 0),
    at timestamptz NOT NULL,
    step text,
    stream text NOT NULL CHECK (stream IN ('say', 'stdout', 'stderr', 'error')),
    text text NOT NULL,
    PRIMARY KEY (build_id, seq)
);

CREATE TABLE image_copies (
    image_id uuid NOT NULL REFERENCES images (id),
    build_id uuid NOT NULL REFERENCES builds (id),
    account text NOT NULL,
    region text NOT NULL,
    ami_id text NOT NULL CHECK (ami_id LIKE 'ami-%'),
    snapshot_ids text[] NOT NULL,
    platform text NOT NULL,
    arch text NOT NULL,
    state text NOT NULL CHECK (state IN ('available', 'deregistered')),
    created_at timestamptz NOT NULL,
    -- One AMI of a build in a region: nothing is made twice.
    PRIMARY KEY (build_id, region)
);
CREATE INDEX image_copies_by_image ON image_copies (image_id);
CREATE INDEX image_copies_by_ami ON image_copies (ami_id);

CREATE TABLE image_tags (
    image_id uuid NOT NULL REFERENCES images (id),
    key text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (image_id, key)
);
CREATE INDEX image_tags_by_value ON image_tags (key, value, image_id);

-- What happened to an image, in order; append-only.
CREATE TABLE image_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    image_id uuid NOT NULL REFERENCES images (id),
    at timestamptz NOT NULL,
    event text NOT NULL,
    principal text NOT NULL,
    data jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX image_events_by_image ON image_events (image_id, id);

-- Files that a build made or fetched.
CREATE TABLE run_files (
    run_id uuid NOT NULL REFERENCES runs (id),
    build_id uuid NOT NULL REFERENCES builds (id),
    name text NOT NULL,
    blob_sha256 bytea NOT NULL REFERENCES blobs (sha256),
    size_bytes bigint NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (build_id, name)
);
CREATE INDEX run_files_by_run ON run_files (run_id, name);

-- One per `manifest` post-processor of a build, in the order builds finished.
CREATE TABLE manifest_entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES runs (id),
    build_id uuid NOT NULL REFERENCES builds (id),
    position integer NOT NULL,
    output text NOT NULL,
    build json NOT NULL,
    UNIQUE (build_id, position)
);
CREATE INDEX manifest_entries_by_run ON manifest_entries (run_id, id);

CREATE TABLE tokens (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    description text NOT NULL DEFAULT '',
    role text NOT NULL CHECK (role IN ('viewer', 'builder', 'promoter', 'admin')),
    -- SHA-256 of the token; the token itself is shown once and kept nowhere.
    hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
CREATE UNIQUE INDEX tokens_live_name ON tokens (name) WHERE revoked_at IS NULL;

CREATE TABLE audit (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    principal text NOT NULL,
    request_id text,
    -- run.create, run.cancel, token.create …
    action text NOT NULL,
    subject text NOT NULL,
    before jsonb,
    after jsonb
);
CREATE INDEX audit_newest ON audit (at DESC, id DESC);
CREATE INDEX audit_by_subject ON audit (subject, at, id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER image_events_append_only BEFORE UPDATE OR DELETE ON image_events FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER step_journal_append_only BEFORE UPDATE OR DELETE ON step_journal FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER template_versions_immutable BEFORE UPDATE OR DELETE ON template_versions FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- A repeated POST with the same key gets the first answer again. Answers that hold a secret are not kept.
CREATE TABLE idempotency_keys (
    principal text NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    -- Method, path, query and body.
    request_sha256 bytea NOT NULL,
    status integer NOT NULL,
    response json NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
