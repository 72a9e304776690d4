//! Repeating cloud calls whose failure is known to be passing.

use std::time::Duration;

use crate::cloud::{CloudError, CloudErrorClass, CloudResult};
use crate::engine::step::{StepContext, StepResult};

/// Throttled or briefly unreachable: about two minutes of trying.
const PASSING_TRIES: u32 = 9;

/// Calls until it succeeds, fails for good or has failed too often. Only failures after which nothing happened are
/// repeated, and those that `also` names.
///
/// # Errors
/// The last failure, or the end of the build's work here.
pub async fn passing<T, F>(
    context: &StepContext,
    also: impl Fn(&CloudError) -> bool,
    mut call: impl FnMut() -> F,
) -> StepResult<CloudResult<T>>
where
    F: Future<Output = CloudResult<T>>,
{
    let mut tries = 0;
    loop {
        let error = match call().await {
            Ok(value) => return Ok(Ok(value)),
            Err(error) => error,
        };
        tries += 1;
        let passing = matches!(error.class, CloudErrorClass::Throttled | CloudErrorClass::Unavailable)
            && error.code != "lease-lost";
        if tries >= PASSING_TRIES || !(passing || also(&error)) {
            return Ok(Err(error));
        }
        tracing::debug!(step = %context.step, operation = error.operation, code = error.code, tries, "cloud call failed; trying again");
        context.pause(Duration::from_millis(250 * (1 << tries.min(7)))).await?;
    }
}

/// [`passing`] without further reasons to repeat.
///
/// # Errors
/// The last failure as a step's error.
pub async fn call<T, F>(context: &StepContext, call: impl FnMut() -> F) -> StepResult<T>
where
    F: Future<Output = CloudResult<T>>,
{
    Ok(passing(context, |_| false, call).await??)
}

/// For a call about something that was just made and may not be visible yet: not found is repeated too.
///
/// # Errors
/// The last failure as a step's error.
pub async fn call_on_new<T, F>(context: &StepContext, call: impl FnMut() -> F) -> StepResult<T>
where
    F: Future<Output = CloudResult<T>>,
{
    Ok(passing(context, |error| error.class == CloudErrorClass::NotFound, call).await??)
}
