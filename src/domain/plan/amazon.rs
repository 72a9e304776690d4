//! The plan of an `amazon-ebs` build, and what the plans of the other amazon builders have of it.

use super::StepKind;
use crate::domain::config::amazon_ebs::AmazonEbs;
use crate::domain::config::communicator::CommunicatorKind;
use crate::domain::config::image::Sharing;
use crate::domain::config::provisioner::ProvisionerBlock;

/// The waves of steps.
#[must_use]
pub fn ebs(ebs: &AmazonEbs, provisioners: &[ProvisionerBlock]) -> Vec<Vec<StepKind>> {
    let mut waves: Vec<Vec<StepKind>> = vec![vec![StepKind::Check]];
    launch(ebs, &mut waves);
    provision(ebs, provisioners, &mut waves);
    if ebs.communicator.communicator == CommunicatorKind::Ssh {
        let removes_key = ebs.communicator.clear_authorized_keys && ebs.communicator.needs_temporary_key();
        if (ebs.clean_image || removes_key) && !ebs.skip_create_ami {
            waves.push(vec![StepKind::Clean]);
        }
    }
    if !ebs.skip_create_ami {
        rest(ebs, &mut waves);
        modify(ebs, &mut waves);
    }
    keep(ebs, &mut waves);
    if !ebs.skip_create_ami {
        image(ebs, StepKind::CreateImage, &mut waves);
    }
    waves
}

pub(super) fn launch(ebs: &AmazonEbs, waves: &mut Vec<Vec<StepKind>>) {
    let mut prepare = Vec::new();
    if ebs.communicator.needs_temporary_key() {
        prepare.push(StepKind::KeyPair);
    }
    if !ebs.names_security_groups() {
        prepare.push(StepKind::SecurityGroup);
    }
    if ebs.temporary_instance_profile_policy.is_some() && ebs.iam_instance_profile.is_none() {
        prepare.push(StepKind::InstanceProfile);
    }
    if !prepare.is_empty() {
        waves.push(prepare);
    }
    if ebs.spot.is_some() {
        waves.push(vec![StepKind::LaunchTemplate]);
        waves.push(vec![StepKind::LaunchSpot]);
    } else {
        waves.push(vec![StepKind::Launch]);
    }
    waves.push(vec![StepKind::WaitRunning]);
}

pub(super) fn provision(ebs: &AmazonEbs, provisioners: &[ProvisionerBlock], waves: &mut Vec<Vec<StepKind>>) {
    if ebs.communicator.communicator == CommunicatorKind::Ssh {
        waves.push(vec![StepKind::Connect]);
        let numbered = provisioners.iter().enumerate();
        waves.extend(numbered.map(|(index, block)| vec![super::provisioning(index, block)]));
    }
}

/// Brings the machine to rest. A one-time spot instance can't be stopped: its image is made with a reboot.
pub(super) fn rest(ebs: &AmazonEbs, waves: &mut Vec<Vec<StepKind>>) {
    if ebs.spot.is_none() {
        if !ebs.disable_stop_instance {
            waves.push(vec![StepKind::Stop]);
        }
        waves.push(vec![StepKind::WaitStopped]);
    }
}

/// What an image of the machine has of it.
pub(super) fn modify(ebs: &AmazonEbs, waves: &mut Vec<Vec<StepKind>>) {
    if ebs.spot.is_none() && (ebs.ena_support.is_some() || ebs.sriov_support) {
        waves.push(vec![StepKind::ModifyInstance]);
    }
}

pub(super) fn keep(ebs: &AmazonEbs, waves: &mut Vec<Vec<StepKind>>) {
    if ebs.launch_block_device_mappings.iter().any(|device| device.outlives_build) {
        waves.push(vec![StepKind::KeepVolumes]);
    }
}

/// From what the new image replaces to what is said of it in the end. `make`: how it is made.
pub(super) fn image(ebs: &AmazonEbs, make: StepKind, waves: &mut Vec<Vec<StepKind>>) {
    let interim = ebs.copying.skip_save_build_region;
    let deregister = |region: &String| StepKind::Deregister { region: region.clone() };
    if ebs.replace.is_some() {
        waves.push(vec![StepKind::FindReplaced]);
        if !interim {
            waves.push(vec![deregister(&ebs.region)]);
        }
    }
    waves.push(vec![make]);
    waves.push(vec![StepKind::WaitImage]);
    if !ebs.ami_regions.is_empty() {
        if ebs.replace.is_some() {
            waves.push(ebs.ami_regions.iter().map(deregister).collect());
        }
        waves.push(ebs.ami_regions.iter().map(|region| StepKind::Copy { region: region.clone() }).collect());
        waves.push(ebs.ami_regions.iter().map(|region| StepKind::WaitCopy { region: region.clone() }).collect());
    }
    if interim {
        waves.push(vec![StepKind::DropInterim]);
    }
    let shared = !ebs.ami_users.is_empty() || ebs.sharing != Sharing::default();
    if shared || ebs.imds_support.is_some() || ebs.keeping.deprecate_at.is_some() {
        waves.push(regions(ebs).cloned().map(|region| StepKind::Share { region }).collect());
    }
    if let Some(fast_launch) = &ebs.fast_launch {
        let wanted = regions(ebs).filter(|region| fast_launch.regions.get(*region) != Some(&None));
        let wave: Vec<StepKind> = wanted.cloned().map(|region| StepKind::FastLaunch { region }).collect();
        if !wave.is_empty() {
            waves.push(wave);
        }
    }
}

/// Where an image is in the end.
fn regions(ebs: &AmazonEbs) -> impl Iterator<Item = &String> {
    std::iter::once(&ebs.region).filter(|_| !ebs.copying.skip_save_build_region).chain(&ebs.ami_regions)
}
