//! Key pairs, security groups and interfaces.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::filters::{busy, duplicate, invalid, not_found};
use super::world::{FakeGroup, FakeKey, Region, World};
use crate::cloud::{CloudResult, KeyPair, NewSecurityGroup, SecurityGroup, Tags};

impl World {
    pub(super) fn import_key_pair(
        &mut self,
        account: &str,
        region: &str,
        name: &str,
        public_key: &str,
        tags: &Tags,
    ) -> CloudResult<KeyPair> {
        let mut parts = public_key.split_whitespace();
        let (Some(kind), Some(key)) = (parts.next(), parts.next()) else {
            return Err(invalid("InvalidKey.Format", "Key is not in valid OpenSSH public key format"));
        };
        let Some(bytes) = STANDARD.decode(key).ok().filter(|_| matches!(kind, "ssh-ed25519" | "ssh-rsa")) else {
            return Err(invalid("InvalidKey.Format", "Key is not in valid OpenSSH public key format"));
        };
        let (id, hidden, created_at) = (self.id("key"), self.invisible_for, self.now);
        let region = self.region(account, region);
        if region.keys.values().any(|key| key.shown.name == name) {
            return Err(duplicate("InvalidKeyPair.Duplicate", format!("The keypair '{name}' already exists.")));
        }
        // For ed25519 EC2 shows the SHA-256 of the public key in base64.
        let fingerprint = STANDARD.encode(Sha256::digest(bytes));
        let shown = KeyPair { id: id.clone(), name: name.to_owned(), fingerprint, created_at, tags: tags.clone() };
        region.keys.insert(id, FakeKey { shown: shown.clone(), hidden });
        Ok(shown)
    }

    pub(super) fn create_security_group(
        &mut self,
        account: &str,
        region: &str,
        request: &NewSecurityGroup,
    ) -> CloudResult<String> {
        let (id, hidden) = (self.id("sg"), self.invisible_for);
        let region = self.region(account, region);
        let vpc_id = match &request.vpc_id {
            Some(vpc) if region.subnets.values().any(|subnet| subnet.shown.vpc_id == *vpc) => vpc.clone(),
            Some(vpc) => return Err(not_found("InvalidVpcID", vpc)),
            None => region.default_vpc.clone().ok_or_else(no_default_vpc)?,
        };
        let taken =
            |group: &FakeGroup| group.shown.name == request.name && group.shown.vpc_id.as_ref() == Some(&vpc_id);
        if region.groups.values().any(taken) {
            let message = format!("The security group '{}' already exists for VPC '{vpc_id}'", request.name);
            return Err(duplicate("InvalidGroup.Duplicate", message));
        }
        let shown = SecurityGroup {
            id: id.clone(),
            name: request.name.clone(),
            vpc_id: Some(vpc_id),
            tags: request.tags.clone(),
        };
        let description = request.description.clone();
        region.groups.insert(id.clone(), FakeGroup { shown, description, rules: BTreeSet::new(), base: false, hidden });
        Ok(id)
    }
}

pub(super) fn no_default_vpc() -> crate::cloud::CloudError {
    invalid("VPCIdNotSpecified", "No default VPC for this user")
}

impl Region {
    pub(super) fn delete_key_pair(&mut self, id: &str) -> CloudResult<()> {
        self.keys.remove(id).map(drop).ok_or_else(|| not_found("InvalidKeyPair", id))
    }

    pub(super) fn authorize_ingress(&mut self, group_id: &str, port: u16, cidrs: &[String]) -> CloudResult<()> {
        let group = self.groups.get_mut(group_id).ok_or_else(|| not_found("InvalidGroup", group_id))?;
        let rules: Vec<_> = cidrs.iter().map(|cidr| (port, cidr.clone())).collect();
        if let Some((port, cidr)) = rules.iter().find(|rule| group.rules.contains(*rule)) {
            let message = format!("the specified rule \"peer: {cidr}, TCP, from port: {port}\" already exists");
            return Err(duplicate("InvalidPermission.Duplicate", message));
        }
        group.rules.extend(rules);
        Ok(())
    }

    pub(super) fn delete_security_group(&mut self, id: &str) -> CloudResult<()> {
        let group = self.groups.get(id).ok_or_else(|| not_found("InvalidGroup", id))?;
        if group.base {
            return Err(invalid("CannotDelete", "the default security group cannot be deleted by a user"));
        }
        if self.interfaces.values().any(|interface| interface.groups.iter().any(|group| group == id)) {
            return Err(busy("DependencyViolation", format!("resource {id} has a dependent object")));
        }
        self.groups.remove(id);
        Ok(())
    }

    pub(super) fn delete_network_interface(&mut self, id: &str) -> CloudResult<()> {
        let interface = self.interfaces.get(id).ok_or_else(|| not_found("InvalidNetworkInterfaceID", id))?;
        if interface.instance.is_some() {
            return Err(busy(
                "InvalidNetworkInterface.InUse",
                format!("Network interface '{id}' is currently in use."),
            ));
        }
        if let Some(interface) = self.interfaces.remove(id) {
            self.free_address(&interface.subnet_id);
        }
        Ok(())
    }

    pub(super) fn free_address(&mut self, subnet_id: &str) {
        if let Some(subnet) = self.subnets.get_mut(subnet_id) {
            subnet.shown.available_addresses += 1;
        }
    }
}
