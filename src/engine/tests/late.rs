//! Expressions of a template that wait for the running build.

use super::world::{PLAIN, TestWorld};
use crate::communicator::ExitStatus;
use crate::communicator::fake::Answer;
use crate::domain::failure::FailureClass;
use crate::domain::state::BuildState;

/// [`PLAIN`] with other options of its provisioner, and a sensitive variable.
fn with_options(options: &str) -> TestWorld {
    let template = PLAIN.replace("{ inline = [\"true\"] }", &format!("{{\n    {options}\n  }}"));
    TestWorld::new(&format!(
        "variable \"token\" {{\n  default   = \"hunter2\"\n  sensitive = true\n}}\n{}",
        template.replace("\"manifest\" {}", "\"manifest\" {\n    custom_data = { id = upper(build.ID) }\n  }")
    ))
}

#[tokio::test(start_paused = true)]
async fn a_provisioner_knows_what_the_build_has_done() {
    let world = with_options(
        "inline = [\"true\"]\n    execute_command = \"ID=${upper(build.ID)} OWNER=${substr(build.SourceAMIOwner, 0, 3)} {{ .Path }}\"",
    );
    assert_eq!(world.plan.format, 4, "servers of before leave it to those that know expressions");
    world.dialer.machine.state().answers.extend([Answer::Output("NAME=Ubuntu\n", ExitStatus::Code(0))]);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    let instance = world.cloud.instances()[0].1.id.to_uppercase();
    let log = world.dialer.machine.log();
    assert!(log.contains(&format!("run ID={instance} OWNER=099 /tmp/script_")), "{log}");
    let row = world.row.lock().unwrap();
    let manifest = &row.record.as_ref().expect("it is built").manifest[0];
    assert_eq!(manifest.build["custom_data"]["id"], instance);
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_worked_out_fails_the_step_with_its_place() {
    let world = with_options("inline = [\"echo ${split(\"-\", build.ID)[7]}\"]");
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Failed, "{}", world.story());
    world.check_promise(0, "it failed");
    let row = world.row.lock().unwrap();
    let failure = row.failure.as_ref().expect("it failed");
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::User, "late-template"));
    assert_eq!(failure.step.as_deref(), Some("provision:1"));
    insta::assert_snapshot!(failure.message, @"Provisioner 1 (shell): inline can't be rendered: web.pkr.hcl:21:44: there is no element 7: the list has 2");
}

#[tokio::test(start_paused = true)]
async fn what_is_made_of_a_secret_is_hidden_too() {
    let world =
        with_options("inline = [\"echo ${base64encode(\"${build.ConnType}${build.SourceAMIOwner}${var.token}\")}\"]");
    world.dialer.machine.state().answers.extend([
        Answer::Output("NAME=Ubuntu\n", ExitStatus::Code(0)),
        Answer::Output("it is c3NoMDk5NzIwMTA5NDc3aHVudGVyMg==\n", ExitStatus::Code(0)),
    ]);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    assert!(world.log_text().contains("it is <sensitive>"), "{}", world.log_text());
}
