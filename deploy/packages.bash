# Installing what is missing, on Debian and its relatives, and what needs root. Read by deploy/quickstart, tests/run
# and .ci/run, which set `root` (of the repository) and have `say` and `die`.
#
# A program or file that is there counts, whatever package it is of: a machine with Docker's own packages, or with a
# PostgreSQL from elsewhere, is left as it is.

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "this needs root, and sudo is not installed: run it as root, or install sudo"
    fi
}

# The sandbox as root, keeping the variables: what it does (a Docker engine, ports below 1024, users) is root's.
sandbox() { as_root_here "$root/deploy/sandbox/sandbox" "$@"; }
as_root_here() { if [ "$(id -u)" = 0 ]; then "$@"; else as_root --preserve-env env "PATH=$PATH" "$@"; fi; }

# /usr/sbin is not on every user's PATH.
has() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }
# The folder is what Ingot itself looks for; programs on the PATH may be pg_wrapper's alone, without a server.
has_postgresql() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || compgen -G '/usr/pgsql-*/bin/initdb' >/dev/null || { has initdb && has postgres; }; }
has_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

# Prints the Debian packages that are missing for these needs, one a line.
missing_packages() { # need…
    local need
    for need in "$@"; do
        case $need in
            # aws-lc-sys and ring compile C; rustc links with cc.
            compiler) has cc && has make || printf '%s\n' gcc libc6-dev make ;;
            curl) has curl || printf '%s\n' curl ca-certificates ;;
            git) has git || echo git ;;
            postgresql) has_postgresql || echo postgresql ;;
            python) has python3 || echo python3; has_venv || echo python3-venv ;;
            docker) has docker && has dockerd || docker_answers || echo docker.io; has debootstrap || echo debootstrap ;;
            # ps and ss are nice to have for a person who looks; setpriv, setsid, flock and unshare are needed.
            tools) has setpriv && has flock && has unshare || echo util-linux ;;
            # A library, not the program: it makes one server's calendar clock step.
            faketime) compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || echo libfaketime ;;
            ssh) has ssh-keygen || echo openssh-client ;;
            sshd) has sshd || echo openssh-server ;;
            *) die "missing_packages does not know $need" ;;
        esac
    done | sort -u
}

docker_answers() { command -v docker >/dev/null && docker info >/dev/null 2>&1; }

ensure_packages() { # need…
    local missing had_postgresql=yes
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    has apt-get || die "please install these (or what they are called here), only apt-get is known: ${missing[*]}"
    has_postgresql || had_postgresql=no
    say "installing ${missing[*]}"
    local log
    log=$(mktemp)
    if ! { as_root apt-get -q update && as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        die "apt-get could not install ${missing[*]} (its last words are above)"
    fi
    rm -f "$log"
    [ $had_postgresql = yes ] || drop_new_cluster
}

# Debian makes and starts a cluster when PostgreSQL is installed for the first time. Nobody asked for that one, it
# holds nothing yet, and it would hold port 5432: only the programs are needed.
drop_new_cluster() {
    command -v pg_lsclusters >/dev/null || return 0
    local version
    version=$(pg_lsclusters --no-header | awk '$2 == "main" { print $1; exit }')
    [ -z "$version" ] || as_root pg_dropcluster --stop "$version" main || true
}

ensure_cargo() {
    # A login shell that was opened before rustup was installed does not have it on its PATH.
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH=$HOME/.cargo/bin:$PATH; fi
    command -v "${CARGO:-cargo}" >/dev/null || die "cargo is not installed: get the Rust toolchain first (https://rustup.rs), version $(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml") or later"
}
