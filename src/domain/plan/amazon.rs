//! The plan of an `amazon-ebs` build.

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
    if ebs.communicator.communicator == CommunicatorKind::Ssh {
        waves.push(vec![StepKind::Connect]);
        let numbered = provisioners.iter().enumerate();
        waves.extend(numbered.map(|(index, block)| vec![super::provisioning(index, block)]));
        let removes_key = ebs.communicator.clear_authorized_keys && ebs.communicator.needs_temporary_key();
        if (ebs.clean_image || removes_key) && !ebs.skip_create_ami {
            waves.push(vec![StepKind::Clean]);
        }
    }
    if !ebs.skip_create_ami {
        rest(ebs, &mut waves);
    }
    if ebs.launch_block_device_mappings.iter().any(|device| device.outlives_build) {
        waves.push(vec![StepKind::KeepVolumes]);
    }
    if !ebs.skip_create_ami {
        image(ebs, &mut waves);
    }
    waves
}

fn launch(ebs: &AmazonEbs, waves: &mut Vec<Vec<StepKind>>) {
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

/// Brings the machine to rest. A one-time spot instance can't be stopped: its image is made with a reboot.
fn rest(ebs: &AmazonEbs, waves: &mut Vec<Vec<StepKind>>) {
    if ebs.spot.is_none() {
        if !ebs.disable_stop_instance {
            waves.push(vec![StepKind::Stop]);
        }
        waves.push(vec![StepKind::WaitStopped]);
        if ebs.ena_support.is_some() || ebs.sriov_support {
            waves.push(vec![StepKind::ModifyInstance]);
        }
    }
}

fn image(ebs: &AmazonEbs, waves: &mut Vec<Vec<StepKind>>) {
    let interim = ebs.copying.skip_save_build_region;
    let deregister = |region: &String| StepKind::Deregister { region: region.clone() };
    if ebs.replace.is_some() {
        waves.push(vec![StepKind::FindReplaced]);
        if !interim {
            waves.push(vec![deregister(&ebs.region)]);
        }
    }
    waves.push(vec![StepKind::CreateImage]);
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
