//! Launch templates and fleets.

use async_trait::async_trait;

use super::GuardedCloud;
use crate::cloud::{CloudResult, Filter, FleetInstance, LaunchTemplate, NewFleet, NewLaunchTemplate, Spot};

#[async_trait]
impl Spot for GuardedCloud {
    async fn find_launch_templates(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<LaunchTemplate>> {
        self.look(region, "DescribeLaunchTemplates", self.inner.find_launch_templates(region, filters)).await
    }
    async fn create_launch_template(&self, region: &str, request: &NewLaunchTemplate) -> CloudResult<String> {
        self.change(region, "CreateLaunchTemplate", self.inner.create_launch_template(region, request)).await
    }
    async fn delete_launch_template(&self, region: &str, template_id: &str) -> CloudResult<()> {
        self.change(region, "DeleteLaunchTemplate", self.inner.delete_launch_template(region, template_id)).await
    }
    async fn create_fleet(&self, region: &str, request: &NewFleet) -> CloudResult<FleetInstance> {
        self.change(region, "CreateFleet", self.inner.create_fleet(region, request)).await
    }
}
