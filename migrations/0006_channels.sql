-- Stages that a run's image is promoted to once it is built: those that its template names (`channels`) and the run may
-- move, from the first to the last. Only adds: a server of the version before finishes such a run without the promotion.

ALTER TABLE runs ADD COLUMN channels text[] NOT NULL DEFAULT '{}';
