//! `channels` of a template's `hcp_packer_registry`: the stages that a run's image is promoted to once it is built. Templates
//! run on servers with other stages, too, so what can't be is a warning, and the image waits for a promotion of its own.

use crate::domain::config::registry::RegistryConfig;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::stage::StageOrder;

/// Who decides that templates may move stages.
#[derive(Debug, Clone, Default)]
pub struct ChannelSettings {
    pub stages: StageOrder,
    /// Stages that every run may put its image on. Others take a promoter who starts this very template.
    pub from_templates: Vec<String>,
}

const LATER: &str = "the image is not put on it; promote it when it is built";

/// The stages that an image goes to, from the first to the last, and what to say of the others.
#[must_use]
pub fn of(registry: &RegistryConfig, settings: &ChannelSettings, by_promoter: bool) -> (Vec<String>, Vec<Diagnostic>) {
    let mut stages: Vec<String> = Vec::new();
    let mut warnings = Vec::new();
    let mut warn = |summary: String, detail: String| {
        let warning = Diagnostic::warning(format!("channels: {summary}")).with_detail(detail);
        warnings.push(Diagnostic { at: Some(registry.at.clone()), ..warning });
    };
    for channel in &registry.channels {
        if settings.stages.position(channel).is_err() {
            let detail = format!("the stages of this server are {}; {LATER}", settings.stages);
            warn(format!("there is no stage {channel:?}"), detail);
        }
    }
    for stage in settings.stages.sort(&registry.channels) {
        let next = settings.stages.names().get(stages.len());
        if let Some(next) = next.filter(|next| **next != stage) {
            let summary = format!("{stage:?} comes after {next:?}, which this run's image is not put on");
            warn(summary, format!("no stage can be skipped; {LATER}"));
        } else if by_promoter || settings.from_templates.contains(&stage) {
            stages.push(stage);
        } else {
            let detail = format!(
                "that takes a promoter who sends the template, or names its version, or the stage's name in \
                 stages.from_templates of the server's configuration; {LATER}"
            );
            warn(format!("this run may not put its image on {stage:?}"), detail);
        }
    }
    (stages, warnings)
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::domain::diagnostic::SourceLocation;

    fn told(channels: &[&str], from_templates: &[&str], by_promoter: bool) -> String {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let registry = RegistryConfig {
            bucket_name: None,
            description: String::new(),
            bucket_labels: IndexMap::new(),
            build_labels: IndexMap::new(),
            channels: texts(channels),
            at: SourceLocation { file: "t.pkr.hcl".into(), line: 3, column: 1 },
        };
        let settings = ChannelSettings { from_templates: texts(from_templates), ..ChannelSettings::default() };
        let (stages, warnings) = of(&registry, &settings, by_promoter);
        assert!(warnings.iter().all(|warning| !warning.is_error() && warning.at == Some(registry.at.clone())));
        let warnings: Vec<&str> = warnings.iter().map(|warning| warning.summary.as_str()).collect();
        format!("{}|{}", stages.join(","), warnings.join("|"))
    }

    #[test]
    fn a_promoter_s_run_may_name_all_stages_in_their_order() {
        assert_eq!(told(&["staging", "dev", "dev"], &[], true), "dev,staging|");
        assert_eq!(told(&[], &[], true), "|");
    }

    #[test]
    fn other_runs_may_name_what_the_server_s_configuration_allows() {
        assert_eq!(told(&["dev"], &["dev"], false), "dev|");
        let refused = "dev|channels: this run may not put its image on \"staging\"";
        assert_eq!(told(&["dev", "staging"], &["dev"], false), refused);
        assert_eq!(told(&["dev"], &["staging"], false), "|channels: this run may not put its image on \"dev\"");
    }

    #[test]
    fn what_can_not_be_is_told() {
        let unknown = "|channels: there is no stage \"production\"";
        assert_eq!(told(&["production"], &[], true), unknown);
        let skipped = "|channels: \"staging\" comes after \"dev\", which this run's image is not put on";
        assert_eq!(told(&["staging"], &[], true), skipped);
        let both = "dev|channels: \"prod\" comes after \"staging\", which this run's image is not put on";
        assert_eq!(told(&["prod", "dev"], &[], true), both);
    }
}
