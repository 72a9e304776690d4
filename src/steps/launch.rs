//! The build's instance. The client token makes a repeated launch find the first one; all tags go in the same call.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::cloud::{CloudError, CloudErrorClass, Filter, Instance, InstanceState, Machine, NewInstance};
use crate::domain::config::AmazonEbs;
use crate::domain::config::amazon_ebs::BlockDevice;
use crate::domain::failure::Failure;
use crate::engine::step::{Made, Step, StepContext, StepError, StepResult};

use super::check::Checked;
use super::retry::Patience;
use super::{finding, image_tags, key_pair, names, removal, retry, security_group};

/// Together half a minute.
const NOT_FOUND_TRIES: u32 = 4;
/// EC2 terminates within minutes, and an instance that hangs there is for a person.
const TERMINATION_LIMIT: Duration = Duration::from_mins(30);
/// An instance that was never seen for so long is not there.
const INVISIBLE_LIMIT: Duration = Duration::from_secs(30);

pub struct Launch;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {
    region: String,
    /// In order of preference; each has a token of its own, because EC2 treats tokens as zonal.
    places: Vec<Place>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Place {
    subnet_id: Option<String>,
    client_token: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    pub instance_id: String,
}

#[async_trait]
impl Step for Launch {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, context: &StepContext) -> Result<Intent, Failure> {
        let ebs = context.ebs()?;
        let checked: Checked = context.output("check")?;
        let place = |subnet_id: Option<String>| Place {
            client_token: names::client_token(context, subnet_id.as_deref().unwrap_or("any")),
            subnet_id,
        };
        let places = if checked.subnet_ids.is_empty() {
            vec![place(None)]
        } else {
            checked.subnet_ids.into_iter().map(|subnet| place(Some(subnet))).collect()
        };
        Ok(Intent { region: ebs.region.clone(), places })
    }

    async fn act(&self, context: &StepContext, intent: &Intent) -> StepResult<Output> {
        context.log.say("Launching a source instance…").await;
        let mut last_error: Option<CloudError> = None;
        for place in &intent.places {
            match launch(context, place, &intent.region).await? {
                Ok(instance) => {
                    context.log.say(&format!("Instance ID: {}", instance.id)).await;
                    return Ok(Output { instance_id: instance.id });
                }
                // Without an answer it may be there, and a second one elsewhere must not be.
                Err(error) if is_of_the_place(&error) => {
                    context.log.say(&format!("{}: {}", error.code, error.message)).await;
                    // An owner that died may have launched here when there was room.
                    if let Some(own) = find(context, &intent.region).await?.into_iter().next() {
                        context.log.say(&format!("Instance ID: {}", own.id)).await;
                        return Ok(Output { instance_id: own.id });
                    }
                    last_error = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(last_error
            .map_or_else(|| Failure::ours("no-place", "the plan names no place to launch in").into(), StepError::from))
    }

    async fn undo(
        &self,
        context: &StepContext,
        intent: &Intent,
        made: Made<Output>,
        _found: &[String],
    ) -> StepResult<Vec<String>> {
        let found = find(context, &intent.region).await?;
        let mut ids: Vec<String> = found.into_iter().map(|instance| instance.id).collect();
        // Not all that carries our tags may be seen yet.
        if let Made::Yes(output) = &made
            && !ids.contains(&output.instance_id)
        {
            ids.push(output.instance_id.clone());
        }
        if ids.is_empty() && made == Made::Unknown {
            ids = spend_tokens(context, intent).await?;
        }
        for id in &ids {
            terminate(context, &intent.region, id).await?;
            context.log.say(&format!("Terminating the source instance {id}")).await;
        }
        for id in &ids {
            until_terminated(context, &intent.region, id).await?;
        }
        ids.extend(remove_leftovers(context, &intent.region).await?);
        Ok(ids)
    }
}

impl PartialEq for Output {
    fn eq(&self, other: &Self) -> bool {
        self.instance_id == other.instance_id
    }
}

/// Whether another zone or subnet may have what this one lacks. A quota is the account's, wherever it launches.
fn is_of_the_place(error: &CloudError) -> bool {
    error.class == CloudErrorClass::Capacity && !error.code.ends_with("LimitExceeded")
}

async fn launch(context: &StepContext, place: &Place, region: &str) -> StepResult<Result<Instance, CloudError>> {
    let request = request(context, place)?;
    // A key pair or group made a moment ago may not be visible yet. A lost answer is asked for again: the token makes it
    // the same instance.
    let mut lost_answers = 0;
    let again = |error: &CloudError| match error.class {
        CloudErrorClass::NotFound => true,
        CloudErrorClass::UnknownOutcome => {
            lost_answers += 1;
            lost_answers < 3
        }
        _ => false,
    };
    let again = std::sync::Mutex::new(again);
    retry::passing(
        context,
        |error| (again.lock().unwrap_or_else(std::sync::PoisonError::into_inner))(error),
        || context.cloud.run_instance(region, &request),
    )
    .await
}

fn request(context: &StepContext, place: &Place) -> Result<NewInstance, Failure> {
    let ebs = context.ebs()?;
    let checked: Checked = context.output("check")?;
    let group: Option<security_group::Output> = context.output_if_any("security_group")?;
    let key: Option<key_pair::Output> = context.output_if_any("key_pair")?;
    let name = "Ingot Builder";
    let instance_tags = finding::temporary_tags(context, name, &image_tags::run_tags(context)?);
    Ok(NewInstance {
        client_token: place.client_token.clone(),
        instance_type: ebs.instance_type.clone(),
        subnet_id: place.subnet_id.clone(),
        availability_zone: ebs.availability_zone.clone(),
        machine: Machine {
            image_id: checked.source.ami_id.clone(),
            key_name: key.map(|key| key.key_name),
            security_group_ids: group.map_or_else(|| ebs.security_group_ids.clone(), |group| vec![group.group_id]),
            associate_public_ip_address: ebs.associate_public_ip_address,
            iam_instance_profile: ebs.iam_instance_profile.clone(),
            user_data: ebs.user_data.clone().map(String::into_bytes),
            block_devices: block_devices(ebs, &checked)?,
            ebs_optimized: ebs.ebs_optimized,
            shutdown_behavior: ebs.shutdown_behavior,
            metadata_options: ebs.metadata_options.clone(),
            placement: ebs.placement.clone(),
            capacity_reservation: ebs.capacity_reservation.clone(),
            license_configurations: ebs.license_configurations.clone(),
            unlimited_credits: ebs.enable_unlimited_credits,
            nitro_enclave: ebs.enable_nitro_enclave,
            volume_tags: finding::temporary_tags(context, name, &image_tags::volume_tags(context)?),
            interface_tags: instance_tags.clone(),
            instance_tags,
        },
    })
}

/// The template's devices. With `encrypt_boot` the root volume is encrypted from the start, which spares the second copy
/// of the whole image that encrypting it afterwards takes.
fn block_devices(ebs: &AmazonEbs, checked: &Checked) -> Result<Vec<BlockDevice>, Failure> {
    let mut devices = ebs.launch_block_device_mappings.clone();
    if ebs.encrypt_boot != Some(true) {
        return Ok(devices);
    }
    let root = checked.root_device_name.clone().ok_or_else(|| {
        Failure::user(
            "encrypt-boot",
            format!("encrypt_boot needs a source image with a named root device; {} has none.", checked.source.ami_id),
        )
    })?;
    if !devices.iter().any(|device| device.device_name == root) {
        devices.push(BlockDevice { device_name: root.clone(), delete_on_termination: true, ..BlockDevice::default() });
    }
    for device in devices.iter_mut().filter(|device| device.device_name == root) {
        device.encrypted = Some(true);
        if device.kms_key_id.is_none() {
            device.kms_key_id.clone_from(&ebs.kms_key_id);
        }
    }
    Ok(devices)
}

async fn find(context: &StepContext, region: &str) -> StepResult<Vec<Instance>> {
    let mut filters = finding::own(context);
    filters.push(Filter::new("instance-state-name", ["pending", "running", "stopping", "stopped", "shutting-down"]));
    retry::call(context, || context.cloud.find_instances(region, &filters)).await
}

/// Nobody knows whether the launch happened and nothing is to be seen: launching once more with the same tokens brings
/// back what there is, or makes something that is ended at once. Either way the tokens are spent afterwards, and a launch
/// that is still on its way can't make a second instance.
async fn spend_tokens(context: &StepContext, intent: &Intent) -> StepResult<Vec<String>> {
    let mut ids = Vec::new();
    for place in &intent.places {
        match launch(context, place, &intent.region).await? {
            Ok(instance) if instance.state == InstanceState::Terminated => {}
            Ok(instance) => ids.push(instance.id),
            // A definite no: nothing was made with this token and nothing can be.
            Err(error) if removal::is_definite(&error) => {}
            // Nothing is known; the undo is tried again later.
            Err(error) => return Err(error.into()),
        }
        if !ids.is_empty() {
            break;
        }
    }
    Ok(ids)
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
    let mut removed = Vec::new();
    for volume in volumes.into_iter().filter(|volume| volume.state != "deleting") {
        removal::until_gone(context, || context.cloud.delete_volume(region, &volume.id)).await?;
        removed.push(volume.id);
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
