-- Steering a run while it is at work: what happens on an error, holds and their answers, things left in place after a
-- failure, priorities. Only additions: a server of the version before goes on beside this one.

ALTER TABLE runs
    -- RunOptions: on_error, debug, limits of holds and steps.
    ADD COLUMN options jsonb NOT NULL DEFAULT '{}',
    -- Higher is claimed first.
    ADD COLUMN priority integer NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100);

ALTER TABLE builds
    -- Where the build waits for a person, or what it left in place, as the API shows it.
    ADD COLUMN hold jsonb,
    -- The last answer to a hold; it names the hold's journal line.
    ADD COLUMN resume jsonb,
    -- Until when a failed build's things are left in place.
    ADD COLUMN kept_until timestamptz,
    ADD CONSTRAINT builds_hold_at_work CHECK (hold IS NULL OR state = 'running' OR cleanup = 'kept'),
    ADD CONSTRAINT builds_kept_failed CHECK (cleanup <> 'kept' OR (state = 'failed' AND kept_until IS NOT NULL)),
    DROP CONSTRAINT builds_cleanup_check,
    ADD CONSTRAINT builds_cleanup_check CHECK (cleanup IN ('none', 'pending', 'done', 'stuck', 'kept'));
CREATE INDEX builds_left_over ON builds (id) WHERE state = 'failed' AND cleanup IN ('pending', 'kept');
CREATE INDEX builds_held ON builds (id) WHERE hold IS NOT NULL;

ALTER TABLE step_journal
    DROP CONSTRAINT step_journal_event_check,
    ADD CONSTRAINT step_journal_event_check CHECK (event IN
        ('started', 'succeeded', 'failed', 'unwinding', 'undo_started', 'undone', 'undo_failed', 'held', 'resumed', 'committed'));
