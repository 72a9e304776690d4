-- Stages that a run's image is promoted to once it is built: those that its template names (`channels`) and the run may
-- move, from the first to the last. Only adds: a server of the version before finishes such a run without the promotion.

ALTER TABLE runs ADD COLUMN channels text[] NOT NULL DEFAULT '{}';

-- The janitor looks for more kinds of things.

ALTER TABLE janitor_findings DROP CONSTRAINT janitor_findings_kind_check;
ALTER TABLE janitor_findings ADD CONSTRAINT janitor_findings_kind_check CHECK (kind IN (
    'instance', 'image', 'snapshot', 'volume', 'network-interface', 'security-group', 'key-pair', 'launch-template',
    'instance-profile', 'role'));
