//! Ending what a command started. Closing an SSH channel does not: sshd lets the processes run on. The command's shell is a
//! session leader (sshd makes it one), so its session, its process group and all descendants are told to end (TERM) and,
//! five seconds later, are made to (KILL); `sudo -n` is used where it works, since children of `sudo` belong to root.

use std::sync::Arc;
use std::time::Duration;

use russh::ChannelMsg;

use super::Session;
use crate::communicator::shell_quote;

/// Longer than the script's own limits (5 s each for TERM and KILL), by as much as a busy machine may need.
const LIMIT: Duration = Duration::from_secs(30);

/// POSIX sh, no tools but `kill` and `sleep`: small images have no `ps`. Reads `/proc/*/stat`, whose second field may hold
/// blanks and parentheses, so fields are counted from the last `) `. Reading all of `/proc` is slow on a busy machine, so it is
/// done about once a second; between, the known ones are asked for. Time is told by the clock, not by counting rounds.
const SCRIPT: &str = r#"
leader=$1; seen=" $leader "
collect() {
  targets=; grew=1
  while [ "$grew" = 1 ]; do
    grew=0
    for stat in /proc/[0-9]*/stat; do
      line=; read -r line <"$stat" || continue
      pid=${line%% *}
      case "$targets " in *" $pid "*) continue ;; esac
      set -- ${line##*) }
      [ "$1" = Z ] && continue
      if [ "$3" = "$leader" ] || [ "$4" = "$leader" ]; then :; else
        case "$seen" in *" $pid "*|*" $2 "*) ;; *) continue ;; esac
      fi
      targets="$targets $pid"; seen="$seen$pid "; grew=1
    done
  done
}
send() { kill -"$1" -- "-$leader"; for pid in $targets; do kill -"$1" "$pid"; done; }
alive() { for pid in $targets; do kill -0 "$pid" && return 0; done; return 1; }
wait_gone() {
  end=$(($(date +%s) + $1)); rounds=0
  while :; do
    if [ $((rounds % 10)) = 0 ] || ! alive; then
      collect
      [ -z "$targets" ] && { echo gone; exit 0; }
      [ "$(date +%s)" -ge "$end" ] && return
    fi
    rounds=$((rounds + 1))
    sleep 0.1 || sleep 1
  done
}
collect; send TERM; wait_gone 5; send KILL; wait_gone 5; echo left
"#;

fn command_line(leader: u32) -> String {
    let script = shell_quote(SCRIPT);
    format!(
        "exec 2>/dev/null; if [ \"$(id -u)\" != 0 ] && sudo -n true; then sudo -n sh -c {script} kill {leader}; \
         else sh -c {script} kill {leader}; fi"
    )
}

/// Kills what belongs to the process `leader` and says whether all of it is gone.
pub(super) async fn kill_all(session: &Session, leader: u32) -> bool {
    let work = async {
        let mut channel = session.open_channel("killing a command").await.ok()?;
        channel.exec(true, command_line(leader)).await.ok()?;
        channel.eof().await.ok()?;
        let mut said = Vec::new();
        while let Some(message) = channel.wait().await {
            if let ChannelMsg::Data { data } = message {
                said.extend_from_slice(&data);
            }
        }
        Some(said.trim_ascii_end().ends_with(b"gone"))
    };
    let gone = tokio::time::timeout(LIMIT, work).await.ok().flatten().unwrap_or(false);
    tracing::debug!(leader, gone, "killed a remote command's processes");
    gone
}

/// Kills a running command's processes when the future that waits for it is dropped, as `tokio::time::timeout` does.
pub(super) struct KillOnDrop {
    session: Arc<Session>,
    leader: Option<u32>,
}

impl KillOnDrop {
    pub(super) fn new(session: Arc<Session>) -> Self {
        Self { session, leader: None }
    }

    pub(super) fn arm(&mut self, leader: u32) {
        self.leader = Some(leader);
    }

    pub(super) fn disarm(&mut self) {
        self.leader = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let (Some(leader), Ok(runtime)) = (self.leader, tokio::runtime::Handle::try_current()) else { return };
        let session = Arc::clone(&self.session);
        runtime.spawn(async move { kill_all(&session, leader).await });
    }
}
