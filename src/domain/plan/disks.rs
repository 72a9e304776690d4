//! The plans of `amazon-ebsvolume` and `amazon-ebssurrogate` builds.

use super::StepKind;
use super::amazon;
use crate::domain::config::provisioner::ProvisionerBlock;
use crate::domain::config::{AmazonEbsSurrogate, AmazonEbsVolume};

/// The waves of steps that fill volumes and make snapshots of them.
#[must_use]
pub fn volumes(build: &AmazonEbsVolume, provisioners: &[ProvisionerBlock]) -> Vec<Vec<StepKind>> {
    let machine = &build.machine;
    let mut waves: Vec<Vec<StepKind>> = vec![vec![StepKind::Check]];
    amazon::launch(machine, &mut waves);
    if build.on_ebs().next().is_some() {
        waves.push(vec![StepKind::ListVolumes]);
        waves.push(vec![StepKind::TagVolumes]);
    }
    amazon::provision(machine, provisioners, &mut waves);
    amazon::rest(machine, &mut waves);
    amazon::keep(machine, &mut waves);
    snapshots(build.with_snapshots().map(|volume| &volume.device_name), &mut waves);
    let shared = |users: &[String], groups: &[String]| !users.is_empty() || !groups.is_empty();
    if build.with_snapshots().any(|volume| shared(&volume.snapshot_users, &volume.snapshot_groups)) {
        waves.push(vec![StepKind::ShareSnapshots]);
    }
    waves
}

/// The waves of steps that make an image of a volume beside the machine's own root. What is on that root is no part of it, so
/// nothing is cleaned there.
#[must_use]
pub fn surrogate(build: &AmazonEbsSurrogate, provisioners: &[ProvisionerBlock]) -> Vec<Vec<StepKind>> {
    let machine = &build.machine;
    let mut waves: Vec<Vec<StepKind>> = vec![vec![StepKind::Check]];
    amazon::launch(machine, &mut waves);
    waves.push(vec![StepKind::ListVolumes]);
    amazon::provision(machine, provisioners, &mut waves);
    amazon::rest(machine, &mut waves);
    if build.use_create_image {
        amazon::modify(machine, &mut waves);
    }
    amazon::keep(machine, &mut waves);
    if build.use_create_image {
        waves.push(vec![StepKind::SwapRoot]);
        amazon::image(machine, StepKind::CreateImage, &mut waves);
    } else {
        snapshots(build.in_image().map(|device| &device.device_name), &mut waves);
        amazon::image(machine, StepKind::RegisterImage, &mut waves);
    }
    waves
}

fn snapshots<'d>(devices: impl Iterator<Item = &'d String>, waves: &mut Vec<Vec<StepKind>>) {
    let wave: Vec<StepKind> = devices.map(|device| StepKind::Snapshot { device: device.clone() }).collect();
    if !wave.is_empty() {
        waves.push(wave);
        waves.push(vec![StepKind::WaitSnapshots]);
    }
}
