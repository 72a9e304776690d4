# A sandbox for tests: own port, own address range, own folder, so that it disturbs no quickstart beside it.
# Read by tests/run after deploy/packages.bash; uses its `state` folder.

# Starts it and sets INGOT_SANDBOX_URL. Further arguments go to `sandbox up`.
start_sandbox() { # port arguments…
    export INGOT_SANDBOX_PORT=$1 INGOT_SANDBOX_STATE=$state/sandbox
    # Follows from the port; a value for somebody else's sandbox would collide with that one.
    unset INGOT_SANDBOX_SUBRANGE
    shift
    sandbox up "$@" </dev/null || die "the sandbox did not start"
    export INGOT_SANDBOX_URL=http://127.0.0.1:$INGOT_SANDBOX_PORT
}

stop_sandbox() { [ ! -d "$state/sandbox" ] || sandbox down </dev/null || say "the sandbox did not stop; see deploy/sandbox/sandbox status"; }

# Prints what should not be there, one line each. Finished images and their snapshots are results, not leftovers.
leftovers() {
    python3 - "$INGOT_SANDBOX_URL" <<'PYTHON'
import json, sys, urllib.request

found = json.load(urllib.request.urlopen(sys.argv[1] + "/_sandbox/leftovers", timeout=60))
images = [image for image in found["images"] if image["state"] == "available"]
builds = {image["tags"].get("ingot:build-id") for image in images}
for kind in ("instances", "volumes", "network_interfaces", "key_pairs", "security_groups", "launch_templates"):
    for item in found[kind]:
        print(kind, item["id"], item["region"], item.get("state", ""), json.dumps(item["tags"]))
for image in found["images"]:
    if image not in images:
        print("image", image["id"], image["region"], image["state"], json.dumps(image["tags"]))
    elif "ingot:temporary" in image["tags"]:
        print("image that was never committed", image["id"], image["region"], json.dumps(image["tags"]))
for snapshot in found["snapshots"]:
    if snapshot["tags"].get("ingot:build-id") not in builds:
        print("snapshot", snapshot["id"], snapshot["region"], json.dumps(snapshot["tags"]))
for container in found["containers"]:
    print("container", container)
PYTHON
}

# An instance that was just told to terminate may need a moment: waits for a state, at most half a minute.
await_no_leftovers() {
    local left until=$((SECONDS + 30))
    while :; do
        left=$(leftovers) || die "the sandbox does not say what is left in it"
        [ -n "$left" ] || return 0
        [ "$SECONDS" -lt "$until" ] || break
        sleep 0.5
    done
    printf 'left over: %s\n' "$left"
    return 1
}
