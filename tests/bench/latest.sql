-- What the benchmark `latest` looks things up in. Variables of psql: images, families. Each image has a run, a build,
-- two AMIs and three tags; each family has its newest image in dev, the one before in staging and the one before that in
-- prod. Triggers that keep the approval clock are off while images are loaded, as nothing points to them yet.
\set ON_ERROR_STOP on
SET synchronous_commit = off;
BEGIN;
ALTER TABLE image_copies DISABLE TRIGGER image_copies_note_change;

INSERT INTO blobs (sha256, bytes) VALUES (sha256('bench'), 'bench');
INSERT INTO templates (id, name, created_by, created_at, updated_at)
VALUES ('00000000-0000-7000-8000-000000000001', 'bench', 'bench', now(), now());
INSERT INTO template_versions (id, template_id, version, content_hash, blob_sha256, outline, created_by, created_at)
VALUES ('00000000-0000-7000-8000-000000000002', '00000000-0000-7000-8000-000000000001', 1, repeat('0', 64),
        sha256('bench'), '{}', 'bench', now());
INSERT INTO families (name, next_number)
SELECT 'family-' || family, :images / :families + 1 FROM generate_series(0, :families - 1) AS family;

CREATE TEMPORARY TABLE made AS
SELECT n, n % :families AS family, n / :families + 1 AS number,
       lpad(to_hex(n), 12, '0') AS digits,
       ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS image,
       ('01900000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid AS run,
       ('01900000-0000-7000-a000-' || lpad(to_hex(n), 12, '0'))::uuid AS build,
       now() - (:images - n) * interval '1 second' AS at
FROM generate_series(0, :images - 1) AS n;

INSERT INTO images (id, family, number, state, sha, built_at, os, builder, source_image, created_at)
SELECT image, 'family-' || family, number, 'built', md5(n::text), at, 'Ubuntu 22.04', 'ingot/bench',
       '{"ami_id": "ami-0000000000000001", "name": "ubuntu-jammy", "owner_id": "099720109477", "region": "us-east-1",
         "creation_date": "2026-01-01T00:00:00.000Z"}', at
FROM made;
INSERT INTO runs (id, template_id, template_version_id, image_id, account, trigger, state, created_by, created_at,
                  started_at, finished_at)
SELECT run, '00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000002', image, 'default', 'api',
       'succeeded', 'bench', at, at, at
FROM made;
INSERT INTO builds (id, run_id, position, name, builder_type, region, plan, facts, state, cleanup, created_at, finished_at)
SELECT build, run, 0, 'amazon-ebs.bench', 'amazon-ebs', 'us-east-1', '{}', '{}', 'succeeded', 'done', at, at
FROM made;
INSERT INTO image_copies (image_id, build_id, account, region, ami_id, snapshot_ids, platform, arch, state, created_at)
SELECT image, build, 'default', region, 'ami-' || digits || region, ARRAY['snap-' || digits], 'linux', 'x86_64',
       'available', at
FROM made CROSS JOIN (VALUES ('us-east-1'), ('eu-west-1')) AS entry (region);
-- One tag of few values, one of a thousand, and one of a hundred.
INSERT INTO image_tags (image_id, key, value)
SELECT image, key, value
FROM made
CROSS JOIN LATERAL (VALUES ('OS', (ARRAY['Ubuntu', 'Debian', 'Amazon'])[1 + family % 3]),
                           ('Service', 'service-' || family % 1000),
                           ('Team', 'team-' || family % 100)) AS entry (key, value);
INSERT INTO build_tags (build_id, image_id, key, value)
SELECT build, image, key, value FROM made JOIN image_tags ON image_id = image;
ALTER TABLE image_copies ENABLE TRIGGER image_copies_note_change;

INSERT INTO stage_history (family, stage, generation, action, image_id, principal, at)
SELECT 'family-' || made.family, stage, 1, 'promote', image, 'bench', now() + made.n * interval '1 microsecond'
FROM made JOIN (VALUES ('dev', 0), ('staging', 1), ('prod', 2)) AS entry (stage, behind)
     ON made.number = :images / :families - behind;
INSERT INTO stage_pointers (family, stage, image_id, generation, since, changed)
SELECT family, stage, image_id, generation, at, 0 FROM stage_history;
COMMIT;
VACUUM ANALYZE;
