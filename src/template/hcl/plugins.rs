//! `required_plugins`: a plugin that is not built in.

use super::blocks::Config;
use crate::domain::diagnostic::Diagnostic;
use crate::template::PluginOutline;

/// Plugins whose components are built in.
pub const BUILT_IN: &[&str] = &["amazon"];

/// What the template requires, by name.
#[must_use]
pub fn outline(config: &Config<'_>) -> Vec<PluginOutline> {
    let mut plugins: Vec<PluginOutline> = config
        .plugins
        .iter()
        .map(|(name, plugin)| PluginOutline {
            name: name.clone(),
            source: plugin.source.clone(),
            version: plugin.version.clone(),
            built_in: BUILT_IN.contains(&own_name(name, &plugin.source)),
            at: plugin.at.clone(),
            end: plugin.end,
        })
        .collect();
    plugins.sort_by(|a, b| a.name.cmp(&b.name));
    plugins
}

/// What the plugin's own repository calls it.
fn own_name<'n>(name: &'n str, source: &'n str) -> &'n str {
    source.rsplit('/').next().unwrap_or(name)
}

/// Complains about plugins that are asked for, are not built in, and whose components the template does not use: where
/// one is used, that component is what is complained about, and not in builds that the run leaves out.
pub fn check(config: &Config<'_>, used: &[String], complaints: &mut Vec<Diagnostic>) {
    for (name, plugin) in &config.plugins {
        let own = own_name(name, &plugin.source);
        let of_plugin = |kind: &String| {
            [name.as_str(), own]
                .iter()
                .any(|name| kind == name || kind.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')))
        };
        if BUILT_IN.contains(&own) || used.iter().any(of_plugin) {
            continue;
        }
        let diagnostic = Diagnostic::error(format!("the plugin {own:?} is not part of Ingot"))
            .with_detail("components are built in and plugins are not installed; the template does not use this one, so take it out of required_plugins")
            .at(Some(plugin.at.clone()))
            .until(Some(plugin.end));
        complaints.push(diagnostic);
    }
}
