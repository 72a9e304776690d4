-- Stages with their pointers, schedules, token rotation. Only adds: servers of the version before go on working.

-- In the order in which servers lock rows of them: the version before may be at work.
LOCK TABLE runs, images, image_copies IN ACCESS EXCLUSIVE MODE;

-- What a pointer refers to: an image together with its family.
ALTER TABLE images ADD CONSTRAINT images_id_and_family UNIQUE (id, family);
CREATE INDEX images_by_sha ON images (sha, created_at DESC, id DESC);
CREATE INDEX images_by_family ON images (family, created_at DESC, id DESC);
CREATE INDEX image_copies_by_place ON image_copies (region, account, arch, image_id);

-- The builds of an image may have different tags: what is asked of an AMI has to be true of that AMI. image_tags stays, as
-- what all builds of an image have together.
CREATE TABLE build_tags (
    build_id uuid NOT NULL REFERENCES builds (id),
    image_id uuid NOT NULL REFERENCES images (id),
    key text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (build_id, key)
);
CREATE INDEX build_tags_by_value ON build_tags (key, value, image_id);
CREATE INDEX build_tags_by_image ON build_tags (image_id);
INSERT INTO build_tags (build_id, image_id, key, value)
SELECT DISTINCT c.build_id, c.image_id, t.key, t.value
FROM image_copies c JOIN image_tags t ON t.image_id = c.image_id;

-- Counts changes of what is approved. One row, locked by whoever changes something until its commit, so a reader that
-- has seen value N has seen all changes up to N. That makes "did anything change?" one cheap question.
CREATE TABLE approval_clock (
    value bigint NOT NULL,
    only_one boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (only_one)
);
INSERT INTO approval_clock (value) VALUES (0);

CREATE FUNCTION tick_approval_clock() RETURNS bigint LANGUAGE sql AS $$
    UPDATE approval_clock SET value = value + 1 RETURNING value
$$;

-- Every change of a pointer; append-only.
CREATE TABLE stage_history (
    family text NOT NULL REFERENCES families (name),
    stage text NOT NULL CHECK (stage ~ '^[a-z0-9][a-z0-9_-]{0,49}$'),
    -- Two changes at once can't both be generation N.
    generation bigint NOT NULL CHECK (generation > 0),
    action text NOT NULL CHECK (action IN ('promote', 'demote', 'rollback')),
    -- What the stage holds from now on; NULL: nothing.
    image_id uuid,
    previous_image_id uuid REFERENCES images (id),
    -- The generation that a rollback restores, from which the next rollback goes on.
    restores bigint,
    principal text NOT NULL,
    comment text,
    request_id text,
    at timestamptz NOT NULL,
    PRIMARY KEY (family, stage, generation),
    FOREIGN KEY (image_id, family) REFERENCES images (id, family),
    CHECK ((action = 'demote') = (image_id IS NULL)),
    CHECK ((action = 'rollback') = (restores IS NOT NULL)),
    CHECK (restores < generation)
);
CREATE INDEX stage_history_by_image ON stage_history (image_id) WHERE image_id IS NOT NULL;
CREATE TRIGGER stage_history_append_only BEFORE UPDATE OR DELETE ON stage_history
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- What a stage holds, by family.
CREATE TABLE stage_pointers (
    family text NOT NULL,
    stage text NOT NULL,
    -- NULL: it held something once.
    image_id uuid,
    generation bigint NOT NULL,
    since timestamptz NOT NULL,
    -- The approval clock's value when this row, or an AMI of its image, last changed.
    changed bigint NOT NULL,
    PRIMARY KEY (family, stage),
    FOREIGN KEY (family, stage, generation) REFERENCES stage_history (family, stage, generation),
    FOREIGN KEY (image_id, family) REFERENCES images (id, family)
);
CREATE INDEX stage_pointers_by_image ON stage_pointers (image_id) WHERE image_id IS NOT NULL;
CREATE INDEX stage_pointers_newest ON stage_pointers (stage, since DESC) WHERE image_id IS NOT NULL;
CREATE INDEX stage_pointers_changed ON stage_pointers (changed);

-- The last line of defence: whatever a server believes, a pointer moves one generation at a time, to what its history says,
-- and only to an image that is built.
CREATE FUNCTION guard_stage_pointer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'stage pointers are never deleted' USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.generation = OLD.generation THEN
        IF NEW.image_id IS DISTINCT FROM OLD.image_id OR NEW.since <> OLD.since THEN
            RAISE EXCEPTION 'a stage pointer changes with its generation' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.generation <> (CASE WHEN TG_OP = 'INSERT' THEN 1 ELSE OLD.generation + 1 END) THEN
        RAISE EXCEPTION 'generation % does not follow', NEW.generation USING ERRCODE = 'check_violation';
    END IF;
    IF NOT EXISTS (SELECT 1 FROM stage_history h
                   WHERE h.family = NEW.family AND h.stage = NEW.stage AND h.generation = NEW.generation
                     AND h.image_id IS NOT DISTINCT FROM NEW.image_id) THEN
        RAISE EXCEPTION 'the history of this stage says something else' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.image_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM images WHERE id = NEW.image_id AND state = 'built') THEN
        RAISE EXCEPTION 'only an image that is built can be promoted' USING ERRCODE = 'check_violation';
    END IF;
    NEW.changed := tick_approval_clock();
    RETURN NEW;
END
$$;
CREATE TRIGGER stage_pointers_guard BEFORE INSERT OR UPDATE OR DELETE ON stage_pointers
    FOR EACH ROW EXECUTE FUNCTION guard_stage_pointer();

-- An AMI of an approved image comes or goes. The family's lock is first, as for promotions: otherwise one that is not
-- committed yet would not be seen here, and this change not there.
CREATE FUNCTION note_copy_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM families f JOIN images i ON i.family = f.name WHERE i.id = NEW.image_id FOR NO KEY UPDATE OF f;
    IF EXISTS (SELECT 1 FROM stage_pointers WHERE image_id = NEW.image_id) THEN
        UPDATE stage_pointers SET changed = clock.value
        FROM (SELECT tick_approval_clock() AS value) AS clock
        WHERE image_id = NEW.image_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER image_copies_note_change AFTER INSERT OR UPDATE ON image_copies
    FOR EACH ROW EXECUTE FUNCTION note_copy_change();

-- Images whose AMIs do not carry their stage as a tag yet.
CREATE TABLE image_tag_sync (
    image_id uuid PRIMARY KEY REFERENCES images (id),
    -- Counts changes: a reconciler that was slower than the next change leaves the row.
    wanted bigint NOT NULL DEFAULT 1,
    since timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0 CHECK (tries >= 0),
    next_try_at timestamptz NOT NULL,
    -- While a server works on it, the others keep away.
    claimed_until timestamptz,
    last_error text
);
CREATE INDEX image_tag_sync_due ON image_tag_sync (next_try_at);

CREATE TABLE schedules (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
    template_id uuid NOT NULL REFERENCES templates (id),
    -- NULL: the newest version at each time.
    pinned_version integer CHECK (pinned_version > 0),
    cron text NOT NULL,
    time_zone text NOT NULL,
    enabled boolean NOT NULL,
    overlap text NOT NULL CHECK (overlap IN ('skip', 'queue', 'cancel_running')),
    catch_up text NOT NULL CHECK (catch_up IN ('none', 'last', 'all')),
    jitter_seconds bigint NOT NULL DEFAULT 0 CHECK (jitter_seconds BETWEEN 0 AND 43200),
    -- What its runs ask for, sealed: variables and environment may be secret. `shown` is the same for people.
    request_key_id text NOT NULL,
    request_nonce bytea NOT NULL CHECK (length(request_nonce) = 12),
    request_ciphertext bytea NOT NULL,
    shown jsonb NOT NULL,
    -- Counts changes by people, so that nobody changes or serves what is not there any more.
    revision bigint NOT NULL DEFAULT 1 CHECK (revision > 0),
    -- The next time of the cron line, and when the run starts (later by the jitter). NULL: paused, deleted, or never again.
    next_slot timestamptz,
    next_fire_at timestamptz,
    -- Keeps other servers from evaluating the same template at the same time; what makes a slot happen once is the
    -- comparison of next_slot, and runs_one_per_slot.
    claimed_until timestamptz,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    FOREIGN KEY (template_id, pinned_version) REFERENCES template_versions (template_id, version),
    CHECK ((next_slot IS NULL) = (next_fire_at IS NULL)),
    CHECK (next_fire_at >= next_slot),
    CHECK (next_slot IS NULL OR (enabled AND deleted_at IS NULL)),
    CHECK (catch_up <> 'all' OR overlap = 'queue')
);
CREATE UNIQUE INDEX schedules_live_name ON schedules (name) WHERE deleted_at IS NULL;
CREATE INDEX schedules_due ON schedules (next_fire_at) WHERE next_fire_at IS NOT NULL;
CREATE INDEX schedules_newest ON schedules (created_at DESC, id DESC) WHERE deleted_at IS NULL;

ALTER TABLE runs ADD COLUMN schedule_id uuid REFERENCES schedules (id);
-- The time of the schedule that this run is for; NULL when it was triggered by hand.
ALTER TABLE runs ADD COLUMN slot timestamptz;
ALTER TABLE runs ADD CONSTRAINT runs_slot_of_schedule CHECK (slot IS NULL OR schedule_id IS NOT NULL);
-- One run a slot, whatever the number of servers.
CREATE UNIQUE INDEX runs_one_per_slot ON runs (schedule_id, slot) WHERE slot IS NOT NULL;
CREATE INDEX runs_by_schedule ON runs (schedule_id, created_at DESC, id DESC) WHERE schedule_id IS NOT NULL;

-- What became of each time of a schedule.
CREATE TABLE schedule_firings (
    id uuid PRIMARY KEY,
    schedule_id uuid NOT NULL REFERENCES schedules (id),
    -- NULL: triggered by hand.
    slot timestamptz,
    at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('started', 'waiting', 'skipped', 'missed', 'failed')),
    reason text,
    run_id uuid UNIQUE REFERENCES runs (id),
    principal text NOT NULL,
    UNIQUE (schedule_id, slot),
    CHECK ((outcome = 'started') = (run_id IS NOT NULL)),
    CHECK (outcome = 'started' OR reason IS NOT NULL)
);
CREATE INDEX schedule_firings_newest ON schedule_firings (schedule_id, at DESC, id DESC);
CREATE INDEX schedule_firings_waiting ON schedule_firings (schedule_id, slot) WHERE outcome = 'waiting';

-- A rotated token's secret before, honoured until a time.
ALTER TABLE tokens ADD COLUMN previous_hash bytea UNIQUE CHECK (length(previous_hash) = 32);
ALTER TABLE tokens ADD COLUMN previous_valid_until timestamptz;
ALTER TABLE tokens ADD COLUMN rotated_at timestamptz;
ALTER TABLE tokens ADD CONSTRAINT tokens_previous_ends CHECK ((previous_hash IS NULL) = (previous_valid_until IS NULL));

CREATE INDEX audit_by_principal ON audit (principal, at DESC, id DESC);
CREATE INDEX audit_by_action ON audit (action text_pattern_ops, at DESC, id DESC);
