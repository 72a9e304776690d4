//! What is launched, by itself or by a fleet: a function of the frozen configuration and of what earlier steps found, so
//! that asking for it again is the same request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cloud::Machine;
use crate::domain::config::amazon_ebs::BlockDevice;
use crate::domain::config::{AmazonEbs, BuilderConfig};
use crate::domain::failure::Failure;
use crate::engine::step::StepContext;

use super::check::Checked;
use super::{finding, image_tags, instance_profile, key_pair, security_group};

/// The name of everything that is launched.
pub const NAME: &str = "Ingot Builder";

/// The build's machine.
///
/// # Errors
/// When a tag can't be rendered, or the source image has no root device to encrypt.
pub fn machine(context: &StepContext) -> Result<Machine, Failure> {
    let ebs = context.ebs()?;
    let checked: Checked = context.output("check")?;
    let key: Option<key_pair::Output> = context.output_if_any("key_pair")?;
    let own_key = ebs.communicator.own_key.as_ref().and_then(|own| own.keypair_name.clone());
    let profile: Option<instance_profile::Output> = context.output_if_any("instance_profile")?;
    let instance_tags = finding::temporary_tags(context, NAME, &image_tags::run_tags(context)?);
    Ok(Machine {
        image_id: checked.source.ami_id.clone(),
        key_name: key.map(|key| key.key_name).or(own_key),
        security_group_ids: groups(context, ebs, &checked)?,
        associate_public_ip_address: ebs.associate_public_ip_address,
        iam_instance_profile: ebs.iam_instance_profile.clone().or(profile.map(|profile| profile.name)),
        user_data: user_data(ebs)?,
        block_devices: block_devices(&context.config()?.builder, ebs, &checked)?,
        ebs_optimized: ebs.ebs_optimized,
        shutdown_behavior: ebs.shutdown_behavior,
        metadata_options: ebs.metadata_options.clone(),
        placement: ebs.placement.clone(),
        capacity_reservation: ebs.capacity_reservation.clone(),
        license_configurations: ebs.license_configurations.clone(),
        unlimited_credits: ebs.enable_unlimited_credits,
        nitro_enclave: ebs.enable_nitro_enclave,
        volume_tags: finding::temporary_tags(context, NAME, &image_tags::volume_tags(context)?),
        interface_tags: instance_tags.clone(),
        instance_tags,
    })
}

fn groups(context: &StepContext, ebs: &AmazonEbs, checked: &Checked) -> Result<Vec<String>, Failure> {
    let made: Option<security_group::Output> = context.output_if_any("security_group")?;
    Ok(match made {
        Some(group) => vec![group.group_id],
        // A check that an older server made lists no groups; then the template names them itself.
        None if checked.security_group_ids.is_empty() => ebs.security_group_ids.clone(),
        None => checked.security_group_ids.clone(),
    })
}

fn user_data(ebs: &AmazonEbs) -> Result<Option<Vec<u8>>, Failure> {
    match (&ebs.user_data, &ebs.user_data_base64) {
        (Some(text), _) => Ok(Some(text.clone().into_bytes())),
        (None, Some(encoded)) => STANDARD
            .decode(encoded)
            .map(Some)
            .map_err(|error| Failure::ours("journal-form", format!("the user data is not Base64: {error}"))),
        (None, None) => Ok(None),
    }
}

/// The template's devices. With `encrypt_boot` the root volume is encrypted from the start, which spares the second copy
/// of the whole image that encrypting it afterwards takes; of a surrogate, what is in the image.
fn block_devices(builder: &BuilderConfig, ebs: &AmazonEbs, checked: &Checked) -> Result<Vec<BlockDevice>, Failure> {
    let mut devices = ebs.launch_block_device_mappings.clone();
    if ebs.encrypt_boot != Some(true) {
        return Ok(devices);
    }
    if let Some(surrogate) = builder.surrogate() {
        let in_image: Vec<&str> = surrogate.in_image().map(|device| device.device_name.as_str()).collect();
        devices.iter_mut().filter(|device| in_image.contains(&device.device_name.as_str())).for_each(|one| {
            encrypt(one, ebs);
        });
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
    devices.iter_mut().filter(|device| device.device_name == root).for_each(|device| encrypt(device, ebs));
    Ok(devices)
}

/// A key of the volume's own counts before the image's.
fn encrypt(device: &mut BlockDevice, ebs: &AmazonEbs) {
    device.encrypted = Some(true);
    if device.kms_key_id.is_none() {
        device.kms_key_id.clone_from(&ebs.kms_key_id);
    }
}
