//! Repeating cloud calls whose failure is known to be passing.

use std::time::Duration;

use tokio::time::Instant;

use crate::cloud::{CloudError, CloudErrorClass, CloudResult};
use crate::engine::failures;
use crate::engine::step::{StepContext, StepError, StepResult};

/// Its credentials were never seen to be valid, so that a refusal there is told at once.
const FIRST_STEP: &str = "check";
/// Pauses before the looks for what a call made; new things become visible within seconds.
const LOOKS: [Duration; 5] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// Throttled or briefly unreachable: about two minutes of trying.
const PASSING_TRIES: u32 = 9;
/// A call whose answer was lost, and of which nothing is to be seen, is sent again so often.
const LOST_TRIES: u32 = 3;
/// How long a wait bears being refused: credentials that ran out are renewed, a role that was changed is changed back.
const REFUSED_LIMIT: Duration = Duration::from_mins(2);

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
    let mut in_doubt = false;
    loop {
        let mut error = match call().await {
            Ok(value) => return Ok(Ok(value)),
            Err(error) => error,
        };
        tries += 1;
        in_doubt |= error.class == CloudErrorClass::UnknownOutcome;
        let passing = error.code != "lease-lost"
            && match error.class {
                CloudErrorClass::Throttled | CloudErrorClass::Unavailable => true,
                // Whoever got as far as beyond the first step had valid credentials a moment ago.
                CloudErrorClass::Unauthorized => {
                    context.step.0 != FIRST_STEP && failures::is_about_credentials(&error.code)
                }
                _ => false,
            };
        let most = if passing { most_tries(context) } else { PASSING_TRIES };
        if tries >= most || !(passing || also(&error)) {
            // These say nothing of an earlier call whose answer was lost.
            let silent = [CloudErrorClass::Throttled, CloudErrorClass::Unavailable, CloudErrorClass::Unauthorized];
            if in_doubt && silent.contains(&error.class) {
                error.class = CloudErrorClass::UnknownOutcome;
            }
            return Ok(Err(error));
        }
        tracing::debug!(step = %context.step, operation = error.operation, code = error.code, tries, "cloud call failed; trying again");
        context.pause(Duration::from_millis(250 * (1 << tries.min(7)))).await?;
    }
}

/// How often a call is sent that is throttled or briefly fails: `max_retries` counts the repetitions.
fn most_tries(context: &StepContext) -> u32 {
    let ebs = context.config.as_deref().and_then(|config| config.builder.ebs());
    ebs.and_then(|ebs| ebs.max_retries).map_or(PASSING_TRIES, |retries| retries.saturating_add(1))
}

/// Makes something that has a name of its own in the cloud. When the name is taken or the answer was lost, `find` tells
/// what is there and ours; when the answer was lost and nothing is there, it is made again: what was sent has landed by
/// then or never will ([`MUTATION_LIMIT`](crate::cloud::MUTATION_LIMIT)), and a name is given only once.
///
/// # Errors
/// The last failure, or the end of the build's work here.
pub async fn make<T, F, G>(
    context: &StepContext,
    also: impl Fn(&CloudError) -> bool,
    mut call: impl FnMut() -> F,
    mut find: impl FnMut() -> G,
) -> StepResult<T>
where
    F: Future<Output = CloudResult<T>>,
    G: Future<Output = StepResult<Option<T>>>,
{
    let mut lost = 0;
    loop {
        let error = match passing(context, &also, &mut call).await? {
            Ok(made) => return Ok(made),
            Err(error) => error,
        };
        if !matches!(error.class, CloudErrorClass::Duplicate | CloudErrorClass::UnknownOutcome) {
            return Err(in_doubt(error.into(), lost > 0));
        }
        if let Some(found) = look_for(context, &mut find).await? {
            return Ok(found);
        }
        lost += 1;
        // A name that is taken by what is not to be seen may well be taken by ours, made by an owner that died.
        if error.class == CloudErrorClass::Duplicate {
            return Err(in_doubt(error.into(), true));
        }
        if lost >= LOST_TRIES {
            return Err(in_doubt(error.into(), lost > 1));
        }
    }
}

/// [`make`] for what has no name of its own in the cloud: asked for twice, it would be there twice. So a step that was begun
/// before looks first for what it may have made then. What EC2 shows too late for that stays temporary, and goes with what
/// undoes the step, or else with the janitor's next sweep.
///
/// # Errors
/// As [`make`].
pub async fn make_nameless<T, F, G>(
    context: &StepContext,
    call: impl FnMut() -> F,
    mut find: impl FnMut() -> G,
) -> StepResult<T>
where
    F: Future<Output = CloudResult<T>>,
    G: Future<Output = StepResult<Option<T>>>,
{
    if context.started_at.is_some()
        && let Some(found) = look_for(context, &mut find).await?
    {
        return Ok(found);
    }
    make(context, |_| false, call, find).await
}

async fn look_for<T, G>(context: &StepContext, find: &mut impl FnMut() -> G) -> StepResult<Option<T>>
where
    G: Future<Output = StepResult<Option<T>>>,
{
    for pause in LOOKS {
        context.pause(pause).await?;
        // It may be there, whatever keeps the look from seeing it.
        if let Some(found) = find().await.map_err(StepError::after_effect)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A refusal does not make known what came of an earlier call whose answer was lost.
fn in_doubt(error: StepError, doubt: bool) -> StepError {
    match error {
        StepError::Failed(failure) if doubt => StepError::FailedUnknown(failure),
        other => other,
    }
}

/// How long a wait has been refused without a break.
#[derive(Debug, Default)]
pub struct Patience {
    refused_since: Option<Instant>,
}

impl Patience {
    /// Notes what the last look met.
    ///
    /// # Errors
    /// The refusal, once it has lasted too long.
    pub fn note(&mut self, error: Option<&CloudError>) -> StepResult<()> {
        match error {
            Some(error) if error.class == CloudErrorClass::Unauthorized => {
                let since = *self.refused_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= REFUSED_LIMIT { Err(failures::from_cloud(error)) } else { Ok(()) }
            }
            // Throttled or broken: it says nothing of what may be seen.
            Some(_) => Ok(()),
            None => {
                self.refused_since = None;
                Ok(())
            }
        }
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

/// For a call that says how things shall be, and so may be sent again when its answer was lost; about something that was
/// just made and may not be visible yet.
///
/// # Errors
/// The last failure as a step's error.
pub async fn set_on_new<T, F>(context: &StepContext, call: impl FnMut() -> F) -> StepResult<T>
where
    F: Future<Output = CloudResult<T>>,
{
    let also = |error: &CloudError| matches!(error.class, CloudErrorClass::NotFound | CloudErrorClass::UnknownOutcome);
    Ok(passing(context, also, call).await??)
}
