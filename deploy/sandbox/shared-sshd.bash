# One sshd for all instances (--instances=sshd), for benchmarks in which containers would be most of the cost.
# Read by ./sandbox. Needs root.
#
# It runs in a mount namespace with users of its own (ubuntu, ec2-user, admin: one unprivileged user id), its own
# /home and /tmp, so that nothing of it is visible on the machine. `sudo` is there and does nothing: a build that
# really installs something needs --instances=docker.

sshd_folder=$state/sshd
# As the sshd itself sees it: its /home is this folder's home/. The name makes its command line ours.
sshd_configuration=/home/.sshd/config-$identifier
sshd_user=$((64000 + subrange))

start_shared_sshd() {
    ! runs "$sshd_folder/home/.sshd/pid" "$sshd_configuration" || return 0
    [ -x /usr/sbin/sshd ] || install_packages openssh-server
    mkdir -p "$sshd_folder/home/bin" "$sshd_folder/home/.sshd"
    chmod 700 "$sshd_folder/home/.sshd"
    chmod 755 "$sshd_folder/home" "$sshd_folder/home/bin"
    [ -s "$sshd_folder/home/.sshd/host_key" ] || ssh-keygen -q -t ed25519 -N '' -f "$sshd_folder/home/.sshd/host_key"
    : >"$sshd_folder/home/authorized_keys"
    grep -E '^(root|sshd|nobody):' /etc/passwd >"$sshd_folder/passwd"
    printf 'root:*:19000::::::\n' >"$sshd_folder/shadow"
    local name
    for name in ubuntu ec2-user admin; do
        mkdir -p "$sshd_folder/home/$name"
        as_root chown "$sshd_user" "$sshd_folder/home/$name"
        echo "$name:x:$sshd_user:$sshd_user::/home/$name:/bin/bash" >>"$sshd_folder/passwd"
        echo "$name:*:19000::::::" >>"$sshd_folder/shadow"
    done
    cat >"$sshd_folder/home/bin/sudo" <<'SUDO'
#!/bin/sh
while :; do case ${1:-} in -u | -g) shift 2 ;; -*) shift ;; *) break ;; esac; done
exec env "$@"
SUDO
    chmod 755 "$sshd_folder/home/bin/sudo"
    cat >"$sshd_folder$sshd_configuration" <<CONFIG
ListenAddress 127.77.$subrange.254:22
HostKey /home/.sshd/host_key
PidFile /home/.sshd/pid
AuthorizedKeysFile /home/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
UseDNS no
MaxStartups 1000
MaxSessions 100
AllowUsers ubuntu ec2-user admin
SetEnv PATH=/home/bin:/usr/local/bin:/usr/bin:/bin
Subsystem sftp internal-sftp
CONFIG
    as_root mkdir -p /run/sshd
    as_root setsid unshare --mount --propagation private bash -c "
        mount --bind '$sshd_folder/passwd' /etc/passwd && mount --bind '$sshd_folder/shadow' /etc/shadow &&
        mount --bind '$sshd_folder/home' /home && mount -t tmpfs -o mode=1777 tmpfs /tmp &&
        exec /usr/sbin/sshd -D -e -f '$sshd_configuration'" \
        >"$sshd_folder/log" 2>&1 </dev/null 9>&- &
    local i
    for i in $(seq 50); do [ -s "$sshd_folder/home/.sshd/pid" ] && return; sleep 0.1; done
    tail -5 "$sshd_folder/log" >&2
    die "the shared sshd did not come up"
}

stop_shared_sshd() {
    [ -d "$sshd_folder" ] || return 0
    end_process "$sshd_folder/home/.sshd/pid" "$sshd_configuration" 5
    # Sessions outlive the listener. The user id is this sandbox's own.
    as_root pkill -KILL -U "$sshd_user" 2>/dev/null || true
    as_root rm -rf "$sshd_folder"
}
