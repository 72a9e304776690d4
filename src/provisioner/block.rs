//! One provisioner block: pause, tries, time limit.

use tokio_util::sync::CancellationToken;

use super::{ProvisionContext, ProvisionError, ProvisionOutcome, Provisioner};
use crate::communicator::CommunicatorError;
use crate::domain::config::provisioner::{ProvisionerBlock, ProvisionerConfig};

fn provisioner(config: &ProvisionerConfig) -> &dyn Provisioner {
    match config {
        ProvisionerConfig::Shell(shell) => shell.as_ref(),
        ProvisionerConfig::ShellLocal(local) => local.as_ref(),
        ProvisionerConfig::File(file) => file.as_ref(),
        ProvisionerConfig::Breakpoint(breakpoint) => breakpoint,
    }
}

/// Runs a block: waits `pause_before`, then tries up to `1 + max_retries` times, each try limited by `timeout`. What a
/// try left running is killed before the next begins.
///
/// # Errors
/// The last try's error (Packer reports the first one's, which misleads), or `Cancelled`.
pub async fn run_block(
    block: &ProvisionerBlock,
    context: &ProvisionContext<'_>,
) -> Result<ProvisionOutcome, ProvisionError> {
    let provisioner = provisioner(&block.config);
    if !block.pause_before.is_zero() {
        (context.say)(&format!(
            "Pausing {:?} before the next provisioner ({})...",
            block.pause_before,
            provisioner.kind()
        ));
        context.pause(block.pause_before).await?;
    }
    let mut left = block.max_retries;
    loop {
        match one_try(block, provisioner, context).await {
            Err(error) if left > 0 && !error.is_cancelled() => {
                (context.say)(&format!(
                    "Provisioner failed with {error:?}, retrying with {left} trie(s) left",
                    error = error.to_string()
                ));
                left -= 1;
            }
            result => return result,
        }
    }
}

async fn one_try(
    block: &ProvisionerBlock,
    provisioner: &dyn Provisioner,
    context: &ProvisionContext<'_>,
) -> Result<ProvisionOutcome, ProvisionError> {
    if context.cancel.is_cancelled() {
        return Err(CommunicatorError::cancelled().into());
    }
    if block.timeout.is_zero() {
        return provisioner.provision(context).await;
    }
    // The time limit is a cancel of this try alone: it takes the same way, so remote processes are killed.
    let cancel: CancellationToken = context.cancel.child_token();
    let limited = ProvisionContext { cancel: &cancel, ..*context };
    let work = provisioner.provision(&limited);
    tokio::pin!(work);
    let result = tokio::select! {
        result = &mut work => return result,
        () = tokio::time::sleep(block.timeout) => {
            cancel.cancel();
            work.await
        }
    };
    match result {
        Err(ProvisionError::Communicator(CommunicatorError::Cancelled { killed }))
            if !context.cancel.is_cancelled() =>
        {
            Err(ProvisionError::TimedOut { after: block.timeout, killed })
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::communicator::ExitStatus;
    use crate::communicator::fake::Answer;
    use crate::domain::config::LateString;
    use crate::domain::config::provisioner::Shell;
    use crate::provisioner::test_support::World;

    const PAUSE: Duration = Duration::from_millis(20);
    const LIMIT: Duration = Duration::from_millis(50);

    fn block(max_retries: u32, timeout: Duration) -> ProvisionerBlock {
        let shell = Shell { inline: vec![LateString::from("true")], ..Shell::default() };
        ProvisionerBlock {
            name: None,
            config: ProvisionerConfig::Shell(Box::new(shell)),
            pause_before: PAUSE,
            max_retries,
            timeout,
            at: None,
        }
    }

    fn failures(world: &World, codes: &[i32]) {
        world.machine.state().answers.extend(codes.iter().map(|code| Answer::Exit(ExitStatus::Code(*code))));
    }

    #[tokio::test]
    async fn it_pauses_and_tries_again_until_it_works() {
        let world = World::default();
        failures(&world, &[1, 2]);
        let before = tokio::time::Instant::now();
        run_block(&block(2, Duration::ZERO), &world.context()).await.unwrap();
        assert!(before.elapsed() >= PAUSE);
        insta::assert_snapshot!(world.said(), @r#"
        Pausing 20ms before the next provisioner (shell)...
        Provisioning with shell script: inline commands
        Provisioner failed with "Script exited with non-zero exit status: 1. Allowed exit codes are: [0]", retrying with 2 trie(s) left
        Provisioning with shell script: inline commands
        Provisioner failed with "Script exited with non-zero exit status: 2. Allowed exit codes are: [0]", retrying with 1 trie(s) left
        Provisioning with shell script: inline commands
        "#);
    }

    #[tokio::test]
    async fn the_last_error_is_reported() {
        let world = World::default();
        failures(&world, &[1, 2]);
        let error = run_block(&block(1, Duration::ZERO), &world.context()).await.unwrap_err();
        assert_eq!(error.to_string(), "Script exited with non-zero exit status: 2. Allowed exit codes are: [0]");
    }

    #[tokio::test]
    async fn each_try_has_the_whole_time_and_is_killed_at_its_end() {
        let world = World::default();
        world.machine.state().answers.extend([Answer::Hang, Answer::Hang]);
        let before = tokio::time::Instant::now();
        let error = run_block(&block(1, LIMIT), &world.context()).await.unwrap_err();
        assert_eq!(error, ProvisionError::TimedOut { after: LIMIT, killed: true });
        assert!(before.elapsed() >= PAUSE + LIMIT + LIMIT);
        assert_eq!(world.machine.log().matches("killed").count(), 2);
    }

    #[tokio::test]
    async fn a_cancel_is_not_tried_again() {
        let world = World::default();
        world.machine.state().answers.push_back(Answer::Hang);
        let context = world.context();
        let block = block(5, Duration::from_mins(1));
        let work = run_block(&block, &context);
        let cancel = async {
            while world.machine.log().matches("run").count() == 0 {
                tokio::task::yield_now().await;
            }
            world.cancel.cancel();
        };
        let (result, ()) = tokio::join!(work, cancel);
        assert!(result.unwrap_err().is_cancelled());
        assert_eq!(world.machine.log().matches("run").count(), 1);
    }
}
