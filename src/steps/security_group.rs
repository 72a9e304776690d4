//! The temporary security group: lets the server in on the communicator's port and nothing else; with Session Manager,
//! nobody.

use std::net::{IpAddr, UdpSocket};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{CloudErrorClass, Filter, NewSecurityGroup, SecurityGroup};
use crate::domain::failure::Failure;
use crate::engine::step::{Made, Step, StepContext, StepError, StepResult};

use super::check::Checked;
use super::{finding, image_tags, names, removal, retry};

pub struct MakeSecurityGroup;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {
    region: String,
    name: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    pub group_id: String,
}

#[async_trait]
impl Step for MakeSecurityGroup {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent { region: context.ebs()?.region.clone(), name: names::temporary(context) })
    }

    async fn act(&self, context: &StepContext, intent: &Intent) -> StepResult<Output> {
        let checked: Checked = context.output("check")?;
        context.log.say(&format!("Creating temporary security group {}", intent.name)).await;
        let request = NewSecurityGroup {
            name: intent.name.clone(),
            description: "Temporary, made by Ingot for one image build".into(),
            vpc_id: checked.vpc_id,
            tags: finding::temporary_tags(context, &intent.name, &image_tags::run_tags(context)?),
        };
        let create = || context.cloud.create_security_group(&intent.region, &request);
        let group_id = retry::make(context, |_| false, create, || adopt(context, intent)).await?;
        if let Err(error) = authorize(context, &intent.region, &group_id).await {
            // The undo may not see the new group yet, so it is told.
            context.journal_found(std::slice::from_ref(&group_id)).await?;
            return Err(error.after_effect());
        }
        Ok(Output { group_id })
    }

    async fn undo(
        &self,
        context: &StepContext,
        intent: &Intent,
        made: Made<Output>,
        found: &[String],
    ) -> StepResult<Vec<String>> {
        let ids: Vec<String> = match &made {
            Made::Yes(output) => vec![output.group_id.clone()],
            _ if !found.is_empty() => found.to_vec(),
            _ => finding::look(context, &made, || find(context, &intent.region))
                .await?
                .into_iter()
                .map(|group| group.id)
                .collect(),
        };
        for id in &ids {
            // A terminated instance keeps its hold on the group for a moment.
            removal::until_gone(context, || context.cloud.delete_security_group(&intent.region, id)).await?;
            context.log.say(&format!("Deleted temporary security group {id}")).await;
        }
        Ok(ids)
    }
}

async fn find(context: &StepContext, region: &str) -> StepResult<Vec<SecurityGroup>> {
    let own = finding::own(context);
    retry::call(context, || context.cloud.find_security_groups(region, &own)).await
}

/// The group of this name, if it is ours.
async fn adopt(context: &StepContext, intent: &Intent) -> StepResult<Option<String>> {
    let by_name = [Filter::new("group-name", [&intent.name])];
    let found = retry::call(context, || context.cloud.find_security_groups(&intent.region, &by_name)).await?;
    match found.into_iter().next() {
        Some(group) if finding::is_own(context, &group.tags) => Ok(Some(group.id)),
        Some(_) => Err(StepError::Failed(Failure::cloud(
            "security-group-taken",
            format!("a security group named {} exists and is not this build's", intent.name),
        ))),
        None => Ok(None),
    }
}

/// Opens the communicator's port of the temporary group for those who may come in. Called again by a new owner, whose
/// address may be another. Session Manager needs no open port.
///
/// # Errors
/// When the cloud refuses.
pub async fn authorize(context: &StepContext, region: &str, group_id: &str) -> StepResult<()> {
    let ebs = context.ebs()?;
    if ebs.communicator.uses_session_manager() {
        return Ok(());
    }
    let cidrs = source_cidrs(context)?;
    let port = ebs.communicator.port;
    context
        .log
        .say(&format!("Authorizing port {port} from {} on the temporary security group", cidrs.join(", ")))
        .await;
    // One rule a call: with several, one that is there already would keep the others out.
    for cidr in cidrs {
        let rule = [cidr];
        let result = retry::passing(
            context,
            // A rule that is there already is a `Duplicate`, so a lost answer may be asked for again.
            |error| matches!(error.class, CloudErrorClass::NotFound | CloudErrorClass::UnknownOutcome),
            || context.cloud.authorize_ingress(region, group_id, port, &rule),
        )
        .await?;
        match result {
            Err(error) if error.class != CloudErrorClass::Duplicate => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn source_cidrs(context: &StepContext) -> Result<Vec<String>, Failure> {
    if let Some(cidrs) = &context.ebs()?.temporary_security_group_source_cidrs {
        return Ok(cidrs.clone());
    }
    if !context.network.source_cidrs.is_empty() {
        return Ok(context.network.source_cidrs.clone());
    }
    let own = own_address().map_err(|error| {
        Failure::ours("own-address", format!("the server's own address is not known: {error}"))
            .with_advice("Set `[network] source_cidrs` to the addresses from which builds are reached.")
    })?;
    Ok(vec![format!("{own}/{}", if own.is_ipv4() { 32 } else { 128 })])
}

/// The address this machine would use towards the outside; nothing is sent.
fn own_address() -> std::io::Result<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // TEST-NET-1 (RFC 5737): only the routing table is asked.
    match socket.connect("192.0.2.1:9") {
        Ok(()) => Ok(socket.local_addr()?.ip()),
        // A machine without a default route reaches only itself.
        Err(_) => Ok(IpAddr::from([127, 0, 0, 1])),
    }
}
