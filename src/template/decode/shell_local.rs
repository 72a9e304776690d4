//! The `shell-local` provisioner's options.

use super::body::Decoder;
use super::shell;
use crate::domain::config::LateString;
use crate::domain::config::provisioner::ShellLocal;
use crate::template::legacy::early::{LOCAL_COMMAND, MACHINE};
use crate::template::source::did_you_mean;

/// Go's names of the systems that Packer knows.
const SYSTEMS: [&str; 6] = ["darwin", "freebsd", "linux", "openbsd", "solaris", "windows"];

/// Reads the options. Complaints go to the decoder's context.
#[must_use]
pub fn decode(decoder: &Decoder<'_>) -> ShellLocal {
    let mut inline = decoder.late_list("inline", MACHINE);
    inline.extend(decoder.late("command", MACHINE));
    let script = decoder.text("script");
    let mut scripts = decoder.texts("scripts");
    shell::check_sources(decoder, "the shell-local provisioner", &["command", "inline", "script", "scripts"]);
    scripts.extend(script);
    let scripts = scripts.iter().filter_map(|path| decoder.bundle_file(path, "script")).map(|(path, _)| path).collect();
    if decoder.flag("use_linux_pathing") == Some(true) {
        decoder.error_at(
            "use_linux_pathing",
            "use_linux_pathing can't be used here",
            "leave it out: the server runs on Linux, where paths are what they are",
        );
    }
    let inline_shebang = decoder.string("inline_shebang");
    let shebang = |line: &LateString| line.0.starts_with("#!") && line.0 != format!("#!{DEFAULT_SHEBANG}");
    if inline_shebang.is_none() && inline.first().is_some_and(shebang) {
        decoder.warn_at(
            "inline",
            "the first line names an interpreter, which shell-local does not look at: the commands are run by /bin/sh -e",
            "name it in inline_shebang",
        );
    }
    let local = ShellLocal {
        inline,
        scripts,
        environment_vars: shell::environment_vars(decoder),
        env: decoder.late_map("env", MACHINE),
        env_var_format: shell::env_var_format(decoder),
        execute_command: execute_command(decoder),
        inline_shebang,
        only_on: only_on(decoder),
        tempfile_extension: tempfile_extension(decoder),
        valid_exit_codes: shell::exit_codes(decoder).unwrap_or(ShellLocal::default().valid_exit_codes),
    };
    decoder.finish("the shell-local provisioner", &[]);
    local
}

const DEFAULT_SHEBANG: &str = "/bin/sh -e";

/// Packer takes a string here for a list whose elements are separated by commas.
fn execute_command(decoder: &Decoder<'_>) -> Vec<LateString> {
    let command = decoder.list("execute_command", LOCAL_COMMAND);
    if let Some(program) = command.first()
        && program.value.is_empty()
    {
        decoder.error(
            &program.at,
            "execute_command begins with an empty string",
            "name the program, then each of its arguments",
        );
    }
    command.into_iter().map(|part| LateString(part.value)).collect()
}

fn only_on(decoder: &Decoder<'_>) -> Vec<String> {
    let systems = decoder.texts("only_on");
    for system in systems.iter().filter(|system| !SYSTEMS.contains(&system.value.as_str())) {
        let near = did_you_mean(&system.value, SYSTEMS);
        let hint = if near.text.is_empty() { format!("there are {}", SYSTEMS.join(", ")).into() } else { near };
        decoder.error(&system.at, format!("only_on: there is no system {:?}", system.value), hint);
    }
    systems.into_iter().map(|system| system.value).collect()
}

fn tempfile_extension(decoder: &Decoder<'_>) -> Option<String> {
    let extension = decoder.text("tempfile_extension")?;
    let name = extension.value.strip_prefix('.').unwrap_or(&extension.value);
    if name.contains(['/', '\0']) {
        decoder.error(&extension.at, "tempfile_extension must be the end of a file name, such as .sh", "");
    }
    (!name.is_empty()).then(|| name.to_owned())
}
