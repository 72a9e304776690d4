# The Docker engine: used when one answers, started when none does. Read by ./sandbox.
#
# Several sandboxes may use an engine that one of them started, so who uses it is written down beside its process
# id, in a folder of the machine rather than of one sandbox; the last one to leave stops it.

engine_folder=${INGOT_SANDBOX_ENGINE_FOLDER:-/run/ingot-sandbox-engine}

engine_answers() { command -v docker >/dev/null && docker info >/dev/null 2>&1; }
# Others that use the engine: those whose state folder is still there (it is in the file).
other_sandboxes() {
    local user
    for user in "$engine_folder"/users/*; do
        [ -e "$user" ] && [ "$(basename "$user")" != "$identifier" ] || continue
        [ ! -d "$(cat "$user")" ] || return 0
    done
    return 1
}
engine_is_ours() { runs "$engine_folder/dockerd.pid" dockerd; }

# Runs a function while no other sandbox starts or stops the engine. 9 is the lock of ./sandbox itself: a daemon
# that inherits either would hold it for ever.
with_engine_lock() {
    as_root mkdir -p "$engine_folder/users"
    [ "$(id -u)" = 0 ] || as_root chmod 1777 "$engine_folder" "$engine_folder/users"
    ( flock 8; "$@" ) 8>"$engine_folder/lock"
}

ensure_engine() {
    local missing=()
    command -v docker >/dev/null || missing+=(docker.io)
    engine_answers || command -v dockerd >/dev/null || [ -x /usr/sbin/dockerd ] || missing+=(docker.io)
    command -v debootstrap >/dev/null || [ -x /usr/sbin/debootstrap ] || missing+=(debootstrap)
    command -v ssh-keygen >/dev/null || missing+=(openssh-client)
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
    with_engine_lock start_engine
}

start_engine() {
    if ! engine_answers; then
        [ -x /usr/sbin/dockerd ] || command -v dockerd >/dev/null || die "no Docker engine answers, and there is none to start"
        say "starting a Docker engine"
        as_root rm -f "$engine_folder/dockerd.pid"
        PATH=$PATH:/usr/sbin:/sbin as_root setsid dockerd --pidfile "$engine_folder/dockerd.pid" \
            >"$state/dockerd.log" 2>&1 </dev/null 8>&- 9>&- &
        for _ in $(seq 300); do ! engine_answers || break; sleep 0.1; done
        engine_answers || { tail -5 "$state/dockerd.log" >&2; die "the Docker engine did not come up"; }
    fi
    echo "$state" >"$engine_folder/users/$identifier"
}

release_engine() {
    [ -d "$engine_folder" ] || return 0
    with_engine_lock stop_engine
}

stop_engine() {
    rm -f "$engine_folder/users/$identifier"
    engine_is_ours || return 0
    if other_sandboxes; then
        say "the Docker engine goes on: other sandboxes use it"
    elif engine_answers && [ -n "$(docker ps --quiet)" ]; then
        say "the Docker engine goes on: containers that are not ours run in it"
    else
        end_process "$engine_folder/dockerd.pid" dockerd 30
        rm -f "$engine_folder"/users/*
        say "stopped the Docker engine"
    fi
}

engine_status() {
    if ! engine_answers; then echo "docker: no engine answers"
    elif engine_is_ours; then echo "docker: an engine that a sandbox started; used by $(ls "$engine_folder/users" | wc -l) sandbox(es)"
    else echo "docker: the machine's own engine"; fi
}
