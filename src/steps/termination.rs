//! The end of the build's instance, and of what was launched with it.

use std::time::Duration;

use tokio::time::Instant;

use crate::cloud::{CloudError, CloudErrorClass, Instance, InstanceState};
use crate::domain::failure::Failure;
use crate::engine::step::{Made, StepContext, StepError, StepResult};

use super::retry::Patience;
use super::{keep_volumes, launch, list_volumes, removal, retry};

/// Together half a minute.
const NOT_FOUND_TRIES: u32 = 4;
/// EC2 terminates within minutes, and an instance that hangs there is for a person.
const TERMINATION_LIMIT: Duration = Duration::from_mins(30);
/// Together as long as the look for anything else whose making got no answer.
const LATE_LOOKS: u32 = 3;
const BETWEEN_LATE_LOOKS: Duration = Duration::from_secs(10);
/// An instance that was never seen for so long is not there.
const INVISIBLE_LIMIT: Duration = Duration::from_secs(30);

/// The ids of this attempt's instances, by their tags and by what the launch said.
///
/// # Errors
/// When the cloud can't be asked.
pub async fn seen(context: &StepContext, region: &str, made: &Made<launch::Output>) -> StepResult<Vec<String>> {
    let mut ids: Vec<String> = find(context, region).await?.into_iter().map(|instance| instance.id).collect();
    // Not all that carries our tags may be seen yet.
    if let Made::Yes(output) = made
        && !ids.contains(&output.instance_id)
    {
        ids.push(output.instance_id.clone());
    }
    Ok(ids)
}

/// Terminates instances, waits until they are gone and removes what did not go with them. Answers what was removed.
///
/// # Errors
/// When something could not be removed.
pub async fn end(context: &StepContext, region: &str, mut ids: Vec<String>) -> StepResult<Vec<String>> {
    for id in &ids {
        terminate(context, region, id).await?;
        context.log.say(&format!("Terminating the source instance {id}")).await;
    }
    for id in &ids {
        until_terminated(context, region, id).await?;
    }
    let mut left = remove_leftovers(context, region).await?;
    // Not every part of EC2 may know of a volume yet that stays when its instance ends.
    if !ids.is_empty() && leaves_volumes(context) {
        for _ in 0..LATE_LOOKS {
            if left.iter().any(|id| id.starts_with("vol-")) || context.committed {
                break;
            }
            context.pause(BETWEEN_LATE_LOOKS).await?;
            left.extend(remove_leftovers(context, region).await?);
        }
    }
    ids.extend(left);
    Ok(ids)
}

/// Whether a volume of the machine stays when it ends.
fn leaves_volumes(context: &StepContext) -> bool {
    let Some(builder) = context.config.as_deref().map(|config| &config.builder) else { return false };
    // What was detached, or attached anew, stays whatever the launch said.
    builder.surrogate().is_some_and(|surrogate| surrogate.use_create_image)
        || builder.ebs().is_some_and(|ebs| {
            let mut devices = ebs.launch_block_device_mappings.iter();
            devices.any(|device| !device.delete_on_termination && device.has_volume())
        })
}

/// This attempt's instances that are not terminated.
///
/// # Errors
/// When the cloud can't be asked.
pub async fn find(context: &StepContext, region: &str) -> StepResult<Vec<Instance>> {
    let place = context.place(region);
    let own = context.ownership();
    retry::call(context, || context.looks.live_instances(&place, &own)).await
}

/// EC2 may say "not found" of an instance that it has just made: not every part of it knows it yet. So that answer counts
/// only when it lasts.
async fn terminate(context: &StepContext, region: &str, id: &str) -> StepResult<()> {
    let mut not_found = 0;
    loop {
        let terminate = || context.cloud.terminate_instance(region, id);
        let lost = |error: &CloudError| error.class == CloudErrorClass::UnknownOutcome;
        match retry::passing(context, lost, terminate).await? {
            Ok(()) => return Ok(()),
            Err(error) if error.class == CloudErrorClass::NotFound => {
                not_found += 1;
                if not_found > NOT_FOUND_TRIES {
                    return Ok(());
                }
                context.pause(Duration::from_secs(1 << not_found)).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn until_terminated(context: &StepContext, region: &str, id: &str) -> StepResult<()> {
    let mut watch = context.watcher.instance(&context.facts.account, region, id);
    let mut patience = Patience::default();
    let began = Instant::now();
    let mut was_seen = false;
    loop {
        let observation = context.waiting(watch.next()).await?.map_err(|_| StepError::Interrupted)?;
        patience.note(observation.error.as_ref())?;
        if observation.error.is_some() {
            continue;
        }
        match observation.seen {
            // EC2 forgets terminated instances after about an hour, and does not know new ones for some seconds.
            None if was_seen || began.elapsed() >= INVISIBLE_LIMIT => return Ok(()),
            None => {}
            Some(instance) if instance.state == InstanceState::Terminated => return Ok(()),
            Some(_) => was_seen = true,
        }
        if began.elapsed() >= TERMINATION_LIMIT {
            return Err(Failure::cloud(
                "instance-wait-timeout",
                format!("Instance {id} was not terminated within {} minutes.", TERMINATION_LIMIT.as_secs() / 60),
            )
            .into());
        }
    }
}

/// Volumes and interfaces that did not go with their instance.
async fn remove_leftovers(context: &StepContext, region: &str) -> StepResult<Vec<String>> {
    let (place, own) = (context.place(region), context.ownership());
    let (volumes, interfaces) = tokio::try_join!(
        retry::call(context, || context.looks.volumes(&place, &own)),
        retry::call(context, || context.looks.network_interfaces(&place, &own)),
    )?;
    let kept = keep_volumes::kept(context)?;
    let mut ids: Vec<String> =
        volumes.into_iter().filter(|volume| volume.state != "deleting").map(|volume| volume.id).collect();
    // Not every part of EC2 may show these, and what stays without being shown would stay for good.
    let listed: Option<list_volumes::Output> = context.output_if_any("list_volumes")?;
    ids.extend(listed.map(|listed| listed.staying).unwrap_or_default());
    ids.retain(|id| !kept.contains(id));
    ids.sort();
    ids.dedup();
    let mut removed = Vec::new();
    for id in ids {
        removal::until_gone(context, || context.cloud.delete_volume(region, &id)).await?;
        removed.push(id);
    }
    for interface in interfaces {
        removal::until_gone(context, || context.cloud.delete_network_interface(region, &interface.id)).await?;
        removed.push(interface.id);
    }
    if !removed.is_empty() {
        context.log.say(&format!("Removed {}", removed.join(", "))).await;
    }
    Ok(removed)
}
