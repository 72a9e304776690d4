"""What has to hold when the soak is over, and its figures."""

import re
from collections import Counter

from soak import templates

OVER = ("succeeded", "failed", "cancelled")
KINDS = ("instances", "volumes", "network_interfaces", "key_pairs", "security_groups", "launch_templates")

_BUILDS = """
SELECT b.id, b.state, b.cleanup, b.attempt, t.name, b.region, r.state, i.state,
       coalesce(replace(replace(b.stuck_reason, '|', '/'), E'\\n', ' '), ''),
       coalesce(b.error ->> 'code', ''),
       coalesce(replace(replace(b.error ->> 'message', '|', '/'), E'\\n', ' '), ''),
       coalesce(extract(epoch FROM b.finished_at - b.created_at), 0), r.id
FROM builds b JOIN runs r ON r.id = b.run_id JOIN templates t ON t.id = r.template_id JOIN images i ON i.id = r.image_id
ORDER BY b.created_at, b.position"""
# Rows that are wrong, each with what is wrong.
_WRONG_ROWS = [
    ("the log's sequence numbers have a gap", """
     SELECT build_id, min(seq), max(seq), count(*) FROM build_log GROUP BY build_id HAVING min(seq) <> 1 OR max(seq) <> count(*)"""),
    ("the journal's sequence numbers have a gap", """
     SELECT build_id, min(seq), max(seq), count(*) FROM step_journal GROUP BY build_id HAVING min(seq) <> 1 OR max(seq) <> count(*)"""),
    ("the journal's epochs go back", """
     SELECT DISTINCT build_id FROM (SELECT build_id, epoch, lag(epoch) OVER (PARTITION BY build_id ORDER BY seq) AS before FROM step_journal) j
     WHERE epoch < before"""),
    ("committed more than once, or without having succeeded, or the other way round", """
     SELECT b.id, b.state, count(j.seq) FROM builds b LEFT JOIN step_journal j ON j.build_id = b.id AND j.event = 'committed'
     GROUP BY b.id HAVING count(j.seq) <> (CASE WHEN b.state = 'succeeded' THEN 1 ELSE 0 END)"""),
    ("a run's state is not what its builds say", """
     SELECT r.id, r.state, array_agg(b.state) FROM runs r JOIN builds b ON b.run_id = r.id GROUP BY r.id
     HAVING r.state <> CASE WHEN bool_or(b.state NOT IN ('succeeded', 'failed', 'cancelled')) THEN r.state
                            WHEN r.cancel_requested_at IS NOT NULL AND bool_or(b.state = 'cancelled') THEN 'cancelled'
                            WHEN bool_or(b.state = 'failed') THEN 'failed' WHEN bool_or(b.state = 'cancelled') THEN 'cancelled'
                            ELSE 'succeeded' END"""),
    ("an image's state is not what its run says", """
     SELECT i.id, i.state, r.state FROM images i JOIN runs r ON r.image_id = i.id
     WHERE r.finished_at IS NOT NULL AND i.state <> CASE WHEN r.state = 'succeeded' THEN 'built' ELSE 'incomplete' END"""),
    ("stuck, and nobody says why", """
     SELECT id FROM builds WHERE (state = 'stuck' OR cleanup = 'stuck') AND coalesce(stuck_reason, '') = ''"""),
]
# The last lines that a chatty build printed have to be 1, 2, 3 … in this order.
_CHATTY = f"""
SELECT build_id, count(*) FROM (
    SELECT l.build_id, l.text, row_number() OVER (PARTITION BY l.build_id ORDER BY l.seq DESC) AS from_the_end
    FROM build_log l JOIN builds b ON b.id = l.build_id JOIN runs r ON r.id = b.run_id JOIN templates t ON t.id = r.template_id
    WHERE t.name = 'soak-chatty' AND b.state = 'succeeded' AND l.stream = 'stdout' AND l.text LIKE 'line %'
) lines
WHERE from_the_end <= {templates.CHATTY_LINES} AND text = 'line ' || ({templates.CHATTY_LINES} + 1 - from_the_end)
GROUP BY build_id HAVING count(*) <> {templates.CHATTY_LINES}"""


class Build:
    def __init__(self, row):
        (self.id, self.state, self.cleanup, attempt, name, self.region, self.run_state, self.image_state, self.stuck_reason, self.code,
         self.message, seconds, self.run) = row.split("|")
        self.attempt, self.kind, self.seconds = int(attempt), name.removeprefix("soak-"), float(seconds)

    def is_over(self):
        return self.state in OVER and self.cleanup not in ("pending", "stuck")

    def is_stuck(self):
        return "stuck" in (self.state, self.cleanup)

    def __str__(self):
        cleanup = f", clean-up {self.cleanup}" if self.cleanup in ("pending", "stuck") else ""
        why = self.stuck_reason or f"{self.code} {self.message}".strip()
        return f"build {self.id} ({self.kind}, attempt {self.attempt}): {self.state}{cleanup}{': ' if why else ''}{why}"


def builds(database, limit=60):
    """All builds; None when the database does not answer within `limit` seconds."""
    rows = database.sql(_BUILDS, limit)
    # Not splitlines: a message may contain what that takes for the end of a line.
    return None if rows is None else [Build(row) for row in rows.split("\n") if row]


def of_the_database(database, all_builds):
    """What is wrong in the database, a sentence each."""
    wrong = []
    for what, query in [*_WRONG_ROWS, ("lines of a chatty build are missing or in disorder", _CHATTY)]:
        wrong += [f"{what}: {row}" for row in database.sql(query).splitlines()]
    wrong += [f"not over: {build}" for build in all_builds if not build.is_over()]
    wrong += [f"succeeded, though its script fails: {build}" for build in all_builds
              if build.state == "succeeded" and not templates.may_succeed(build.kind)]
    return wrong


def leaked(sandbox, all_builds):
    """What is in the cloud and should not be there."""
    found = sandbox.control("GET", "leftovers")
    succeeded = {build.id for build in all_builds if build.state == "succeeded"}
    wrong = [f"{kind}: {item['id']} in {item['region']} {item.get('state', '')} {item['tags']}" for kind in KINDS for item in found[kind]]
    wrong += [f"container {name}" for name in found["containers"]]
    wrong += [f"image {image['id']} in {image['region']} {image['state']} {image['tags']}" for image in found["images"]
              if image["state"] != "available" or "ingot:temporary" in image["tags"]
              or image["tags"].get("ingot:build-id") not in succeeded]
    wrong += [f"snapshot {snapshot['id']} in {snapshot['region']} {snapshot['tags']}" for snapshot in found["snapshots"]
              if "ingot:temporary" in snapshot["tags"] or snapshot["tags"].get("ingot:build-id") not in succeeded]
    return wrong


def of_the_images(sandbox, database, all_builds):
    """Every build that succeeded has one image in each of its regions, the others have none, and the registry knows just these."""
    found = sandbox.control("GET", "leftovers")
    there, snapshots = {}, Counter()
    for image in found["images"]:
        there.setdefault(image["tags"].get("ingot:build-id"), []).append((image["region"], image["id"]))
    for snapshot in found["snapshots"]:
        snapshots[snapshot["tags"].get("ingot:build-id"), snapshot["region"], snapshot["id"]] += 1
    registry, known = {}, Counter()
    for row in database.sql("SELECT build_id, region, ami_id, array_to_string(snapshot_ids, ',') FROM image_copies").splitlines():
        build, region, image, ids = row.split("|")
        registry.setdefault(build, []).append((region, image))
        known.update((build, region, one) for one in ids.split(","))
    wrong = [f"snapshots of images and of the registry differ: {sorted((snapshots - known) + (known - snapshots))}"] if snapshots != known else []
    for build in all_builds:
        regions = sorted(region for region, _ in there.get(build.id, []))
        expected = sorted(templates.regions(build.kind)) if build.state == "succeeded" else []
        if regions != expected:
            wrong.append(f"images in {regions}, and should be in {expected}: {build}")
        if sorted(there.get(build.id, [])) != sorted(registry.get(build.id, [])):
            wrong.append(f"the cloud has {there.get(build.id)}, the registry {registry.get(build.id)}: {build}")
    return wrong


def of_the_machines(sandbox):
    """No attempt of a build ever had two machines. Returns what is wrong, and how many machines there were."""
    machines = Counter()
    for instance in sandbox.control("GET", "instances")["instances"]:
        machines[instance["tags"].get("ingot:build-id"), instance["tags"].get("ingot:attempt")] += 1
    return ([f"build {build}, attempt {attempt}: {number} machines" for (build, attempt), number in machines.items() if number > 1],
            sum(machines.values()))


def of_the_logs(servers):
    """Panics, and figures."""
    wrong, counts = [], Counter()
    for server in servers.all:
        for path in server.logs():
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    if "panicked at" in line:
                        wrong.append(f"{path}: {line.strip()}")
                    if "took over a build" in line:
                        counts["taken over"] += 1
                    elif re.search(r"\bERROR\b", line):
                        counts["errors"] += 1
    return wrong, counts


def reasons(all_builds):
    """Why builds failed: code and the beginning of the message, ids left out."""
    found = Counter()
    for build in all_builds:
        if build.state == "failed" and templates.may_succeed(build.kind):
            found[f"{build.code}: {re.sub(r'(i|ami|snap|vol|sg|key)-[0-9a-f]+|[0-9a-f-]{36}', '…', build.message)[:140]}"] += 1
    return found
