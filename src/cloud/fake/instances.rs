//! The life of an instance with its volumes and interface.

use tokio::time::Instant;

use super::base;
use super::disks::{Disk, mapped};
use super::filters::{busy, duplicate, invalid, not_found, refuse};
use super::network::no_default_vpc;
use super::timing::Change;
use super::world::{FakeInstance, FakeInterface, FakeVolume, Region, World};
use crate::cloud::{
    CloudErrorClass, CloudResult, Image, ImageState, Instance, InstanceDevice, InstanceState, NetworkInterface,
    NewInstance, Subnet, Volume,
};
use crate::domain::config::amazon_ebs::ShutdownBehavior;

impl World {
    pub(super) fn run_instance(&mut self, account: &str, region: &str, request: &NewInstance) -> CloudResult<Instance> {
        if let Some((before, id)) = self.region(account, region).launches.get(&request.client_token) {
            if before != request {
                let message = format!(
                    "Arguments on this idempotent request are inconsistent with arguments used in previous request(s). ({id})"
                );
                return Err(duplicate("IdempotentParameterMismatch", message));
            }
            let id = id.clone();
            let found = self.region(account, region).instances.get(&id).map(|instance| instance.shown.clone());
            return found.ok_or_else(|| not_found("InvalidInstanceID", &id));
        }
        let instance = self.launch_new(account, region, request)?;
        let tokens = &mut self.region(account, region).launches;
        tokens.insert(request.client_token.clone(), (request.clone(), instance.id.clone()));
        Ok(instance)
    }

    /// Launches whatever the token.
    pub(super) fn launch_new(&mut self, account: &str, region: &str, request: &NewInstance) -> CloudResult<Instance> {
        let image = self.launchable_image(account, region, &request.machine.image_id)?;
        let kind = base::instance_type(&request.instance_type).ok_or_else(|| {
            invalid("InvalidParameterValue", format!("Invalid value '{}' for InstanceType.", request.instance_type))
        })?;
        if !kind.architectures.contains(&image.architecture) {
            let message = format!(
                "The architecture '{}' of the specified instance type does not match the architecture '{}' of the specified AMI.",
                kind.architectures.join(", "),
                image.architecture
            );
            return Err(invalid("InvalidParameterValue", message));
        }
        if let Some(profile) = &request.machine.iam_instance_profile {
            self.iam(account).launches_with(profile)?;
        }
        let subnet = self.region(account, region).subnet_for(request)?;
        let groups = self.region(account, region).groups_for(request, &subnet)?;
        self.check_room(&subnet, &request.instance_type)?;
        let disks = self.images.get(&image.id).map(|image| image.disks.clone()).unwrap_or_default();
        let disks = mapped(disks, &request.machine.block_devices, (account, region));
        Ok(self.launch(account, region, request, (&image, disks), &subnet, groups))
    }

    fn launchable_image(&self, account: &str, region: &str, id: &str) -> CloudResult<Image> {
        let image = self.images.get(id).filter(|image| image.region == region && image.visible_to(account));
        let image = image.ok_or_else(|| not_found("InvalidAMIID", id))?;
        match image.shown.state {
            ImageState::Available => Ok(image.shown.clone()),
            _ => Err(refuse(
                CloudErrorClass::NotFound,
                "InvalidAMIID.Unavailable",
                format!("The image ID '{id}' is no longer available"),
            )),
        }
    }

    fn check_room(&self, subnet: &Subnet, instance_type: &str) -> CloudResult<()> {
        if self.lacking.contains(&(subnet.availability_zone.clone(), instance_type.to_owned())) {
            let zone = &subnet.availability_zone;
            let message = format!(
                "Your requested instance type ({instance_type}) is not supported in your requested Availability Zone ({zone})."
            );
            return Err(refuse(CloudErrorClass::Capacity, "Unsupported", message));
        }
        if self.full_zones.contains(&subnet.availability_zone) {
            let message = format!("We currently do not have sufficient capacity in {}.", subnet.availability_zone);
            return Err(refuse(CloudErrorClass::Capacity, "InsufficientInstanceCapacity", message));
        }
        if subnet.available_addresses <= 0 {
            let message = format!("There are not enough free addresses in subnet '{}'.", subnet.id);
            return Err(refuse(CloudErrorClass::Capacity, "InsufficientFreeAddressesInSubnet", message));
        }
        Ok(())
    }

    fn launch(
        &mut self,
        account: &str,
        region: &str,
        request: &NewInstance,
        (image, disks): (&Image, Vec<Disk>),
        subnet: &Subnet,
        groups: Vec<String>,
    ) -> Instance {
        let (id, interface_id, hidden) = (self.id("i"), self.id("eni"), self.invisible_for);
        let now = self.now;
        let volumes: Vec<FakeVolume> = disks
            .into_iter()
            .map(|disk| FakeVolume {
                shown: Volume {
                    id: self.id("vol"),
                    state: "in-use".to_owned(),
                    volume_type: disk.volume_type.clone(),
                    size_gib: Some(disk.size_gib),
                    iops: disk.iops,
                    created_at: now,
                    instance_ids: vec![id.clone()],
                    tags: request.machine.volume_tags.clone(),
                },
                zone: subnet.availability_zone.clone(),
                instance: Some(id.clone()),
                disk,
                hidden,
            })
            .collect();
        let number = self.next();
        let (high, low) = (number / 250 % 250, number % 250 + 4);
        let public = request.machine.associate_public_ip_address.unwrap_or(subnet.maps_public_ip);
        let shown = Instance {
            id: id.clone(),
            state: InstanceState::Pending,
            state_reason: None,
            client_token: Some(request.client_token.clone()),
            public_ip: public.then(|| format!("198.18.{high}.{low}")),
            private_ip: Some(format!("10.0.{high}.{low}")),
            public_dns: public.then(|| format!("ec2-198-18-{high}-{low}.compute.internal")),
            private_dns: Some(format!("ip-10-0-{high}-{low}.{region}.compute.internal")),
            ipv6: None,
            availability_zone: Some(subnet.availability_zone.clone()),
            devices: volumes.iter().map(device_of).collect(),
            volume_ids: volumes.iter().map(|volume| volume.shown.id.clone()).collect(),
            interface_ids: vec![interface_id.clone()],
            instance_type: request.instance_type.clone(),
            key_name: request.machine.key_name.clone(),
            spot: false,
            launched_at: now,
            tags: request.machine.instance_tags.clone(),
        };
        let change = if self.failing_boots.is_empty() {
            Change::begin(InstanceState::Running, self.timings.boot)
        } else {
            Change::begin(InstanceState::Terminated, self.timings.boot).because(self.failing_boots.remove(0))
        };
        let interface = FakeInterface {
            shown: NetworkInterface {
                id: interface_id.clone(),
                state: "in-use".to_owned(),
                instance_id: Some(id.clone()),
                group_ids: groups.clone(),
                tags: request.machine.interface_tags.clone(),
            },
            subnet_id: subnet.id.clone(),
            groups: groups.clone(),
            instance: Some(id.clone()),
            hidden,
        };
        let region = self.region(account, region);
        if let Some(subnet) = region.subnets.get_mut(&subnet.id) {
            subnet.shown.available_addresses -= 1;
        }
        region.volumes.extend(volumes.into_iter().map(|volume| (volume.shown.id.clone(), volume)));
        region.interfaces.insert(interface_id, interface);
        let instance = FakeInstance {
            shown: shown.clone(),
            request: request.clone(),
            vpc_id: subnet.vpc_id.clone(),
            subnet_id: subnet.id.clone(),
            groups,
            change: Some(change),
            ena_support: image.ena_support,
            sriov_support: false,
            hidden,
        };
        region.instances.insert(id, instance);
        shown
    }

    pub(super) fn stop_instance(&mut self, account: &str, region: &str, id: &str) -> CloudResult<()> {
        let stop = self.timings.stop;
        let instance = self.region(account, region).instance(id)?;
        if instance.shown.spot {
            let message = format!(
                "You can't stop the Spot Instance '{id}' because it is associated with a one-time Spot Instance request. You can only stop Spot Instances associated with persistent Spot Instance requests."
            );
            return Err(invalid("UnsupportedOperation", message));
        }
        match instance.shown.state {
            InstanceState::Running => {
                instance.shown.state = InstanceState::Stopping;
                instance.change = Some(Change::begin(InstanceState::Stopped, stop));
                Ok(())
            }
            InstanceState::Stopping | InstanceState::Stopped => Ok(()),
            _ => Err(wrong_state(id, "stopped")),
        }
    }

    pub(super) fn terminate_instance(&mut self, account: &str, region: &str, id: &str) -> CloudResult<()> {
        let stop = self.timings.stop;
        let instance = self.region(account, region).instance(id)?;
        if !matches!(instance.shown.state, InstanceState::ShuttingDown | InstanceState::Terminated) {
            instance.shown.state = InstanceState::ShuttingDown;
            let change = Change::begin(InstanceState::Terminated, stop);
            instance.change = Some(change.because("Client.UserInitiatedShutdown: User initiated shutdown"));
        }
        Ok(())
    }

    pub(super) fn guest_shutdown(&mut self, account: &str, region: &str, id: &str) {
        self.settle();
        // A spot instance is never stopped.
        let stays = |instance: &&FakeInstance| {
            !instance.shown.spot && instance.request.machine.shutdown_behavior == ShutdownBehavior::Stop
        };
        let done = match self.region(account, region).instances.get(id).filter(stays) {
            Some(_) => self.stop_instance(account, region, id),
            _ => self.terminate_instance(account, region, id),
        };
        // A machine that does not run can't shut itself down either.
        drop(done);
    }
}

impl Region {
    pub(super) fn instance(&mut self, id: &str) -> CloudResult<&mut FakeInstance> {
        self.instances.get_mut(id).ok_or_else(|| not_found("InvalidInstanceID", id))
    }

    fn subnet_for(&self, request: &NewInstance) -> CloudResult<Subnet> {
        if let Some(id) = &request.subnet_id {
            let subnet = self.subnets.get(id).ok_or_else(|| not_found("InvalidSubnetID", id))?;
            return match &request.availability_zone {
                Some(zone) if *zone != subnet.shown.availability_zone => {
                    Err(invalid("InvalidParameterValue", format!("subnet {id} is not in availability zone {zone}")))
                }
                _ => Ok(subnet.shown.clone()),
            };
        }
        let vpc = self.default_vpc.as_ref().ok_or_else(no_default_vpc)?;
        let in_zone =
            |subnet: &Subnet| request.availability_zone.as_ref().is_none_or(|zone| *zone == subnet.availability_zone);
        let mut candidates = self.subnets.values().map(|subnet| &subnet.shown);
        let found = candidates.find(|subnet| subnet.vpc_id == *vpc && subnet.default_for_az && in_zone(subnet));
        found.cloned().ok_or_else(|| invalid("MissingInput", "No subnets found for the default VPC"))
    }

    fn groups_for(&self, request: &NewInstance, subnet: &Subnet) -> CloudResult<Vec<String>> {
        if let Some(name) = &request.machine.key_name
            && !self.keys.values().any(|key| key.shown.name == *name)
        {
            return Err(not_found("InvalidKeyPair", name));
        }
        if request.machine.security_group_ids.is_empty() {
            let base =
                self.groups.values().filter(|group| group.base && group.shown.vpc_id.as_ref() == Some(&subnet.vpc_id));
            return Ok(base.map(|group| group.shown.id.clone()).collect());
        }
        for id in &request.machine.security_group_ids {
            let group = self.groups.get(id).ok_or_else(|| not_found("InvalidGroup", id))?;
            if group.shown.vpc_id.as_ref() != Some(&subnet.vpc_id) {
                let message = format!("Security group {id} and subnet {} belong to different networks.", subnet.id);
                return Err(invalid("InvalidParameter", message));
            }
        }
        Ok(request.machine.security_group_ids.clone())
    }

    pub(super) fn set_ena_support(&mut self, id: &str, enabled: bool) -> CloudResult<()> {
        let instance = self.instance(id)?;
        if instance.shown.state != InstanceState::Stopped {
            return Err(busy(
                "IncorrectInstanceState",
                format!("Instance '{id}' must be stopped to change its ENA support"),
            ));
        }
        instance.ena_support = enabled;
        Ok(())
    }

    pub(super) fn set_sriov_support(&mut self, id: &str) -> CloudResult<()> {
        let instance = self.instance(id)?;
        if instance.shown.state != InstanceState::Stopped {
            let message = format!("Instance '{id}' must be stopped to change its SR-IOV support");
            return Err(busy("IncorrectInstanceState", message));
        }
        instance.sriov_support = true;
        Ok(())
    }

    pub(super) fn delete_volume(&mut self, id: &str) -> CloudResult<()> {
        let volume = self.volumes.get(id).ok_or_else(|| not_found("InvalidVolume", id))?;
        if let Some(instance) = &volume.instance {
            return Err(busy("VolumeInUse", format!("Volume {id} is currently attached to {instance}")));
        }
        self.volumes.remove(id);
        Ok(())
    }

    pub(super) fn settle(&mut self, now: Instant) {
        let mut gone = Vec::new();
        for instance in self.instances.values_mut() {
            let Some(change) = instance.change.take_if(|change| change.due(now)) else { continue };
            instance.shown.state = change.to;
            instance.shown.state_reason = change.reason;
            if matches!(change.to, InstanceState::Stopped | InstanceState::Terminated) {
                instance.shown.public_ip = None;
                instance.shown.public_dns = None;
            }
            if change.to == InstanceState::Terminated {
                instance.shown.private_ip = None;
                instance.shown.private_dns = None;
                instance.shown.devices.clear();
                instance.shown.volume_ids.clear();
                instance.shown.interface_ids.clear();
                gone.push(instance.shown.id.clone());
            }
        }
        for id in gone {
            self.clear_after(&id);
        }
    }

    /// What an instance held when it is gone: volumes as their launch said, the interface always.
    fn clear_after(&mut self, instance_id: &str) {
        let its = |instance: &Option<String>| instance.as_deref() == Some(instance_id);
        self.volumes.retain(|_, volume| !(its(&volume.instance) && volume.disk.delete_on_termination));
        for volume in self.volumes.values_mut().filter(|volume| its(&volume.instance)) {
            volume.instance = None;
            volume.shown.instance_ids.clear();
            "available".clone_into(&mut volume.shown.state);
        }
        let gone: Vec<_> = self.interfaces.extract_if(.., |_, interface| its(&interface.instance)).collect();
        for (_, interface) in gone {
            self.free_address(&interface.subnet_id);
        }
    }
}

pub(super) fn wrong_state(id: &str, what: &str) -> crate::cloud::CloudError {
    busy("IncorrectInstanceState", format!("The instance '{id}' is not in a state from which it can be {what}."))
}

fn device_of(volume: &FakeVolume) -> InstanceDevice {
    InstanceDevice {
        device_name: volume.disk.device_name.clone(),
        volume_id: volume.shown.id.clone(),
        delete_on_termination: volume.disk.delete_on_termination,
    }
}
