//! Builds with `shell-local` provisioners: real processes, so these tests have real time.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::memory_journal::Landed;
use super::world::{PLAIN, TestWorld};
use crate::domain::failure::FailureClass;
use crate::domain::journal::JournalEvent;
use crate::domain::state::BuildState;
use crate::engine::executor::Departure;

/// A build without a machine, with this in its build block.
fn local(provisioners: &str) -> TestWorld {
    let template = format!(
        "source \"null\" \"x\" {{\n  communicator = \"none\"\n}}\nbuild {{\n  sources = [\"source.null.x\"]\n{provisioners}}}\n"
    );
    let mut world = TestWorld::new(&template);
    world.shell_local = true;
    world
}

fn inline(lines: &str) -> String {
    format!("  provisioner \"shell-local\" {{\n    inline = [{lines}]\n  }}\n")
}

#[tokio::test]
async fn it_needs_no_machine_and_its_output_is_masked() {
    let provisioner = r#"  provisioner "shell-local" {
    env = { CONNECTION = "${build.ConnType}", ID = "{{ build `ID` }}" }
    inline = ["echo \"$CONNECTION $ID $PACKER_RUN_UUID\"", "echo the password is hunter2"]
  }
  provisioner "breakpoint" { disable = true }
"#;
    let world = local(provisioner);
    assert_eq!(world.plan.format, 4, "older servers leave it alone");
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    let log = world.log_text();
    assert!(log.contains(&format!("none Null {}", world.facts.run)), "{log}");
    assert!(log.contains("the password is <sensitive>") && !log.contains("hunter2"), "{log}");
    assert!(world.cloud.calls().is_empty(), "nothing is asked of the cloud");
}

#[tokio::test]
async fn a_failing_script_fails_the_build() {
    let world = local(&inline("\"exit 7\""));
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Failed, "{}", world.story());
    let failure = world.row.lock().unwrap().failure.clone().unwrap();
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::User, "provisioner-failed"));
    assert!(failure.message.starts_with("Provisioner 1 (shell-local): Script exited with"), "{failure:?}");
}

#[tokio::test]
async fn a_server_that_does_not_allow_it_runs_nothing() {
    let mut world = local(&inline("\"echo it ran\""));
    world.shell_local = false;
    world.serve_until_over().await;
    let failure = world.row.lock().unwrap().failure.clone().unwrap();
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::User, "shell-local-not-allowed"));
    assert!(failure.advice.unwrap().contains("`[policy] shell_local = true`"));
    assert!(!world.log_text().contains("it ran"), "{}", world.log_text());
}

/// Waits until the log has a line that begins so; the rest of it.
async fn said(world: &TestWorld, beginning: &str) -> String {
    loop {
        let found = world.log_text().lines().find_map(|line| line.strip_prefix(beginning).map(str::to_owned));
        if let Some(rest) = found {
            return rest;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_alive(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

async fn wait_gone(process: &str) {
    while is_alive(process) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const ENDLESS: &str = r#""sleep 600 &", "echo child $!", "wait""#;

#[tokio::test]
async fn a_cancel_kills_the_script_and_its_children() {
    let world = local(&inline(ENDLESS));
    let cancel = async {
        let child = said(&world, "child ").await;
        assert!(is_alive(&child));
        world.row.lock().unwrap().cancel_requested = true;
        child
    };
    let (child, ()) = tokio::join!(cancel, world.serve_until_over());
    wait_gone(&child).await;
    assert_eq!(world.state(), BuildState::Cancelled, "{}", world.story());
}

#[tokio::test]
async fn another_owner_s_build_is_let_go_of_at_once() {
    let world = Arc::new(local(&inline(ENDLESS)));
    let serving = tokio::spawn({
        let world = world.clone();
        async move { world.serve_once(CancellationToken::new()).await }
    });
    let child = said(&world, "child ").await;
    world.row.lock().unwrap().epoch += 1;
    assert_eq!(serving.await.unwrap(), Some(Departure::Lost), "{}", world.story());
    wait_gone(&child).await;
}

#[tokio::test]
async fn a_script_that_was_interrupted_is_run_by_a_new_attempt() {
    let provisioners = inline("\"echo attempt\"");
    let whole = local(&provisioners);
    whole.serve_until_over().await;
    let writes = whole.row.lock().unwrap().writes;
    for write in 1..=writes {
        for landed in [Landed::No, Landed::Yes] {
            let world = local(&provisioners);
            world.die_at(write, landed);
            world.serve_until_over().await;
            let context = format!("died at write {write}, landed: {landed:?}\n{}", world.story());
            assert_eq!(world.state(), BuildState::Succeeded, "{context}");
            // Nobody knows how far a script came: it never begins twice in an attempt.
            let begun = |attempt: i32| {
                let row = world.row.lock().unwrap();
                let entries = row.entries.iter().filter(|entry| entry.attempt.0 == attempt);
                entries.filter(|entry| matches!(entry.event, JournalEvent::Started { .. })).count()
            };
            assert!((1..=3).all(|attempt| begun(attempt) <= 1), "{context}");
        }
    }
}

/// With a machine, it runs between the other provisioners; the connection is not its affair.
#[tokio::test]
async fn it_runs_beside_a_machine() {
    let here = "  provisioner \"shell-local\" { inline = [\"echo the image comes of {{ build `SourceAMI` }}\"] }\n  post-processor";
    let mut world = TestWorld::new(&PLAIN.replacen("  post-processor", here, 1));
    world.shell_local = true;
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    world.check_promise(1, "a local script");
    assert!(world.log_text().contains("the image comes of ami-"), "{}", world.log_text());
}
