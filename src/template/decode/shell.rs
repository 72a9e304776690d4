//! The `shell` provisioner's options.

use std::time::Duration;

use super::body::{Decoder, Rule, Rules};
use crate::domain::config::LateString;
use crate::domain::config::provisioner::Shell;
use crate::template::late;
use crate::template::legacy::early::{COMMAND, MACHINE};

const RULES: Rules = &[("command", Rule::NotYet("write inline = [ … ]"))];

/// Reads the options. Complaints go to the decoder's context.
#[must_use]
pub fn decode(decoder: &Decoder<'_>) -> Shell {
    let defaults = Shell::default();
    let inline = decoder.late_list("inline", MACHINE);
    let script = decoder.text("script");
    let mut scripts = decoder.texts("scripts");
    check_sources(decoder, "the shell provisioner", &["inline", "script", "scripts"]);
    scripts.extend(script);
    let scripts = scripts.iter().filter_map(|path| decoder.bundle_file(path, "script")).map(|(path, _)| path).collect();
    let environment_vars = environment_vars(decoder);
    let valid_exit_codes = exit_codes(decoder).unwrap_or(defaults.valid_exit_codes);
    let use_env_var_file = decoder.flag("use_env_var_file").unwrap_or(false);
    let shell = Shell {
        inline,
        scripts,
        environment_vars,
        env: decoder.late_map("env", MACHINE),
        use_env_var_file,
        env_var_format: env_var_format(decoder),
        execute_command: decoder.late("execute_command", COMMAND),
        inline_shebang: decoder.string("inline_shebang"),
        remote_folder: decoder.string("remote_folder").unwrap_or(defaults.remote_folder),
        remote_file: decoder.string("remote_file"),
        remote_path: decoder.string("remote_path"),
        skip_clean: decoder.flag("skip_clean").unwrap_or(false),
        binary: decoder.flag("binary").unwrap_or(false),
        valid_exit_codes,
        expect_disconnect: decoder.flag("expect_disconnect").unwrap_or(false),
        start_retry_timeout: decoder.duration("start_retry_timeout").unwrap_or(defaults.start_retry_timeout),
        pause_after: decoder.duration("pause_after").unwrap_or(Duration::ZERO),
    };
    decoder.finish("the shell provisioner", RULES);
    shell
}

/// What is given counts, also where its value has a fault that was already reported.
pub(super) fn check_sources(decoder: &Decoder<'_>, what: &str, names: &[&str]) {
    let (last, others) = names.split_last().unwrap_or((&"inline", &[]));
    // What is not known yet may turn out to be empty.
    let sure = names.iter().filter(|name| !decoder.is_unknown(name));
    let given: Vec<_> = sure.filter_map(|name| decoder.given(name)).collect();
    match given.as_slice() {
        [] if decoder.any_unknown(names) => {}
        [] => decoder.error(decoder.at(), format!("{what} needs {} or {last}", others.join(", ")), ""),
        [_] => {}
        [_, second, ..] => {
            let summary = format!("only one of {} and {last} can be given", others.join(", "));
            decoder.error(second, summary, "use a provisioner for each");
        }
    }
}

/// `environment_vars`, each of the form `NAME=value`.
pub(super) fn environment_vars(decoder: &Decoder<'_>) -> Vec<LateString> {
    let variables = decoder.late_list("environment_vars", MACHINE);
    let named = |variable: &LateString| variable.0.split_once('=').is_some_and(|(name, _)| !name.is_empty());
    // What an expression gives is looked at once the build has it.
    let waits = |variable: &LateString| late::named(&variable.0).next().is_some();
    if variables.iter().any(|variable| !named(variable) && !waits(variable)) {
        decoder.error_at("environment_vars", "environment_vars holds an entry that is not NAME=value", "");
    }
    variables
}

/// `env_var_format`, a format with the name and the value.
pub(super) fn env_var_format(decoder: &Decoder<'_>) -> Option<String> {
    let format = decoder.text("env_var_format")?;
    if format.value.matches("%s").count() != 2 {
        decoder.error(&format.at, "env_var_format must hold %s twice: for the name and for the value", "");
    }
    Some(format.value)
}

/// `valid_exit_codes`; `None` when none is given.
pub(super) fn exit_codes(decoder: &Decoder<'_>) -> Option<Vec<i32>> {
    let codes = decoder.texts("valid_exit_codes");
    let mut result = Vec::new();
    for code in &codes {
        match code.value.parse() {
            Ok(code) => result.push(code),
            Err(_) => decoder.error(&code.at, format!("valid_exit_codes: {:?} is no whole number", code.value), ""),
        }
    }
    (!result.is_empty()).then_some(result)
}
