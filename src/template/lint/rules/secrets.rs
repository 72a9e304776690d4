//! Secrets that are written down: in commands, scripts, environments, variables and elsewhere. What they are is never shown.

use std::ops::Range;

use crate::template::lint::context::Context;
use crate::template::lint::findings::Findings;
use crate::template::lint::model::{Component, Entry, Kind, Model, Piece, Place, Text, Value};
use crate::template::lint::scripts::Script;
use crate::template::lint::secret_forms::{self, Form};
use crate::template::lint::shell::{self, Simple};
use crate::template::lint::text::Alignment;
use crate::template::lint::{names, scripts};

const RULE_PROVISIONER: &str = "secret-in-provisioner";
const RULE_ENVIRONMENT: &str = "secret-in-environment";
const RULE_VARIABLE: &str = "secret-in-variable";
const RULE_TEMPLATE: &str = "secret-in-template";

const SEEN: &str = "Everybody who can read the template or its history has it. Take it from a variable with sensitive = true, and \
                    replace the secret: it has been seen.";

pub fn check(context: &Context<'_>, findings: &mut Findings) {
    for script in &context.scripts {
        in_script(script, on_machine, findings);
        for (index, command) in script.parsed.commands.iter().enumerate() {
            if shell::simple(command).is_some() {
                baked(script, index, findings);
            }
        }
    }
    for script in &context.local_scripts {
        in_script(script, on_server, findings);
    }
    for build in &context.model.builds {
        for provisioner in &build.provisioners {
            in_provisioner(&context.model, provisioner, findings);
        }
        for component in &build.post_processors {
            in_options(&context.model, &component.options, RULE_TEMPLATE, findings);
        }
    }
    for component in context.model.sources.iter().chain(&context.model.data) {
        in_options(&context.model, &component.options, RULE_TEMPLATE, findings);
    }
    variables(context, findings);
    for (index, file) in context.model.files.iter().enumerate() {
        uploaded_or_template(context, index, &file.text, findings);
    }
}

fn report(rule: &'static str, secret: Place, what: &str, findings: &mut Findings) {
    if !findings.secrets.add(secret) {
        return;
    }
    let (summary, detail) = match rule {
        RULE_PROVISIONER => (
            format!("{what} is written into what runs on the machine or is uploaded to it"),
            "It stays in the image, in the template's history and in every copy of both, and stops working in all of them on the day it is \
             changed. Let machines fetch it when they start, from Secrets Manager or Parameter Store by their role; take a secret that only \
             the build needs from a sensitive variable.",
        ),
        RULE_ENVIRONMENT => (
            format!("{what} is written into a provisioner's environment"),
            "Everybody who can read the template has it. Take it from a variable with sensitive = true and give its value with the run, or \
             let the machine fetch it by its role. Do not write it to the disk: it would stay in the image.",
        ),
        RULE_VARIABLE => (
            format!("{what} is written down as a variable's value"),
            "Everybody who can read the template or its history has it. Leave the default out, set sensitive = true, and give the value with \
             the run; or read it by the data source amazon-secretsmanager.",
        ),
        _ => (format!("{what} is written into the template"), SEEN),
    };
    findings.add(rule, secret, summary, detail);
}

fn on_machine(secret: Place, what: &str, findings: &mut Findings) {
    report(RULE_PROVISIONER, secret, what, findings);
}

/// A `shell-local` script leaves nothing in an image.
fn on_server(secret: Place, what: &str, findings: &mut Findings) {
    if findings.secrets.add(secret) {
        findings.add(RULE_PROVISIONER, secret, format!("{what} is written into what runs on the server"), SEEN);
    }
}

fn in_script(script: &Script, report: fn(Place, &str, &mut Findings), findings: &mut Findings) {
    for Form { range, what } in secret_forms::tokens(&script.text) {
        report(script.place(&range), what, findings);
    }
    // Matches come in the order of the text, so its lines are gone through once.
    let (mut line_end, mut comment) = (0, false);
    for (name, range) in secret_forms::assignments(&script.text) {
        while range.start >= line_end && line_end < script.text.len() {
            let line = script.text[line_end..].split_inclusive('\n').next().unwrap_or_default();
            comment = line.trim_start().starts_with('#');
            line_end += line.len();
        }
        if !comment {
            report(script.place(&range), &format!("the value of {name}"), findings);
        }
    }
    for simple in script.parsed.commands.iter().filter_map(shell::simple) {
        for range in in_arguments(&simple) {
            report(script.place(&range), &format!("a password for {}", simple.name), findings);
        }
    }
}

/// Secrets that are arguments by their position: `--password x`, `-u user:x`, `mysql -px`, `sshpass -p x`, `echo u:x | chpasswd`.
fn in_arguments(simple: &Simple<'_>) -> Vec<Range<usize>> {
    let good = |word: &shell::Word, text: &str| !word.expands && secret_forms::is_value(text);
    let mut found = Vec::new();
    for pair in simple.arguments.windows(2) {
        let [option, value] = pair else { continue };
        let name = option.text.trim_start_matches('-');
        let by_name = option.text.starts_with("--") && names::is_secret(name);
        let short = option.text == "-p"
            && match simple.name {
                "sshpass" | "usermod" | "useradd" => true,
                // `docker run -p 80:80` is a port.
                "docker" | "podman" | "az" => simple.has("login"),
                _ => false,
            };
        if (by_name || short) && !value.text.starts_with('-') && good(value, &value.text) {
            found.push(value.span.clone());
        }
        let user = matches!(option.text.as_str(), "-u" | "--user" | "--proxy-user") && simple.name == "curl";
        if user && value.text.split_once(':').is_some_and(|(_, password)| good(value, password)) {
            found.push(value.span.clone());
        }
    }
    if matches!(simple.name, "mysql" | "mysqladmin" | "mysqldump" | "sshpass") {
        let attached = simple.arguments.iter().filter(|word| {
            word.text.strip_prefix("-p").is_some_and(|password| good(word, password) && !password.starts_with('='))
        });
        found.extend(attached.map(|word| word.span.clone()));
    }
    found
}

/// A secret from outside that is written to a file of the image: `echo "DB_PASSWORD=${var.db_password}" >> /etc/app/.env`.
fn baked(script: &Script, index: usize, findings: &mut Findings) {
    let command = &script.parsed.commands[index];
    let (pipeline, position) = script.parsed.pipeline(index);
    let kept = |path: &str| {
        !["/tmp", "/dev", "/run", "/proc", "/var/tmp"].iter().any(|folder| path.starts_with(folder))
            && !path.starts_with(['&', '$'])
    };
    let to_file = command.redirects.iter().any(|redirect| redirect.writes() && kept(&redirect.target.text));
    let to_tee = pipeline[position + 1..]
        .iter()
        .filter_map(shell::simple)
        .any(|simple| simple.name == "tee" && simple.operands().any(|word| kept(&word.text)));
    if !to_file && !to_tee {
        return;
    }
    let words = command.words.iter().map(|word| word.span.clone());
    let bodies = command.redirects.iter().map(|redirect| redirect.body.clone());
    for span in words.chain(bodies) {
        let text = &script.text[span.clone()];
        for (name, value) in secret_forms::open_assignments(text) {
            let place = script.place(&(span.start + value.start..span.start + value.end));
            findings.add(
                RULE_PROVISIONER,
                place,
                format!("the value of {name} is written into the image"),
                "It stays in every copy of the image, and stops working in all of them on the day it is changed. Let machines fetch it when \
                 they start, from Secrets Manager or Parameter Store by their role.",
            );
        }
    }
}

fn in_provisioner(model: &Model, provisioner: &Component, findings: &mut Findings) {
    for entry in &provisioner.options {
        match entry.key.as_str() {
            // Looked at as scripts.
            "inline" if provisioner.kind == "shell" => {}
            "inline" | "command" if provisioner.kind == "shell-local" => {}
            "environment_vars" | "ansible_env_vars" => {
                for item in entry.value.items().unwrap_or_default() {
                    environment_entry(model, item, findings);
                }
            }
            "env" => {
                for entry in entry.value.entries().unwrap_or_default() {
                    named_value(model, entry, RULE_ENVIRONMENT, findings);
                }
            }
            _ => in_options(model, std::slice::from_ref(entry), RULE_PROVISIONER, findings),
        }
    }
}

/// `NAME=value`. The value may be a variable, or begin with one.
fn environment_entry(model: &Model, item: &Value, findings: &mut Findings) {
    let Kind::Text(text) = &item.kind else { return };
    if let Some(Piece::Literal { text: first, place, via: None }) = text.pieces.first()
        && let Some((name, value)) = first.split_once('=')
    {
        let value = value.trim_matches(['\'', '"']);
        if names::is_secret(name) && secret_forms::is_value(value) {
            let start = first.len() - first.split_once('=').map_or(0, |(_, rest)| rest.len());
            report(
                RULE_ENVIRONMENT,
                sub_place(model, first, *place, &(start..first.len())),
                &format!("the value of {name}"),
                findings,
            );
        }
    }
    in_text(model, text, RULE_ENVIRONMENT, false, findings);
}

/// An entry whose name says what its value is.
fn named_value(model: &Model, entry: &Entry, rule: &'static str, findings: &mut Findings) {
    match &entry.value.kind {
        Kind::Text(text) => {
            let known = text
                .known()
                .filter(|_| !text.pieces.iter().any(|piece| matches!(piece, Piece::Literal { via: Some(_), .. })));
            if names::is_secret(&entry.key) && known.is_some_and(|known| secret_forms::is_value(&known)) {
                report(rule, inside(model, entry.value.place), &format!("the value of {}", entry.key), findings);
            }
            let named = rule == RULE_PROVISIONER || entry.key == "user_data";
            in_text(model, text, rule, named, findings);
        }
        Kind::Map(entries) => entries.iter().for_each(|entry| named_value(model, entry, rule, findings)),
        Kind::List(items) => {
            for item in items {
                let entry = Entry { key: entry.key.clone(), key_place: entry.key_place, value: item.clone() };
                named_value(model, &entry, rule, findings);
            }
        }
        Kind::Unknown(hole) => {
            for part in &hole.parts {
                part.texts(&mut |text, _| in_text(model, text, rule, false, findings));
            }
        }
        Kind::Null | Kind::Bool(_) => {}
    }
}

fn in_options(model: &Model, options: &[Entry], rule: &'static str, findings: &mut Findings) {
    for entry in options {
        named_value(model, entry, rule, findings);
    }
}

/// Secrets of a known form in a text, and with `named` those that stand behind their name.
fn in_text(model: &Model, text: &Text, rule: &'static str, named: bool, findings: &mut Findings) {
    for piece in &text.pieces {
        let Piece::Literal { text, place, via: None } = piece else { continue };
        for Form { range, what } in secret_forms::tokens(text) {
            report(rule, sub_place(model, text, *place, &range), what, findings);
        }
        if named {
            for (name, range) in secret_forms::assignments(text) {
                report(rule, sub_place(model, text, *place, &range), &format!("the value of {name}"), findings);
            }
        }
    }
}

/// The place of a part of a literal.
fn sub_place(model: &Model, text: &str, place: Place, range: &Range<usize>) -> Place {
    let alignment = Alignment::new(model.raw(place), text);
    Place {
        file: place.file,
        start: place.start + alignment.raw(range.start),
        end: place.start + alignment.raw(range.end),
    }
}

/// A string's place without its quotes.
fn inside(model: &Model, place: Place) -> Place {
    let raw = model.raw(place);
    let quoted = raw.len() > 2 && raw.starts_with('"') && raw.ends_with('"');
    let by = usize::from(quoted);
    Place { file: place.file, start: place.start + by, end: place.end - by }
}

fn variables(context: &Context<'_>, findings: &mut Findings) {
    for variable in &context.model.variables {
        if let Some(value) = &variable.value {
            let entry = Entry { key: variable.name.clone(), key_place: variable.at, value: value.clone() };
            named_value(&context.model, &entry, RULE_VARIABLE, findings);
        }
        if !variable.local && !variable.sensitive && names::is_secret(&variable.name) {
            let detail = "Its value would be shown in messages and in the run's variables. Add sensitive = true to the variable (JSON: list it in \
                          sensitive-variables).";
            let summary = format!("the variable {} is named like a secret and not marked sensitive", variable.name);
            findings.add("variable-not-sensitive", variable.at, summary, detail);
        }
    }
}

/// What nothing else has looked at: comments, texts of options that are not read, uploaded files.
fn uploaded_or_template(context: &Context<'_>, index: usize, text: &str, findings: &mut Findings) {
    let rule = if index < context.model.template_files { RULE_TEMPLATE } else { RULE_PROVISIONER };
    for Form { range, what } in secret_forms::tokens(text) {
        report(rule, Place { file: index, start: range.start, end: range.end }, what, findings);
    }
    let path = context.model.files[index].path.as_str();
    let mut scripts = context.scripts.iter().chain(&context.local_scripts);
    let script = scripts.any(|script| script.path.as_deref() == Some(path));
    if rule == RULE_PROVISIONER && !script {
        for (name, range) in secret_forms::assignments(text) {
            report(
                rule,
                Place { file: index, start: range.start, end: range.end },
                &format!("the value of {name}"),
                findings,
            );
        }
    }
}

/// Makes the files that `file` provisioners upload files of the model, so that they are looked at.
pub fn add_uploads(model: &mut Model, input: &crate::template::lint::Input<'_>) {
    const MAX_FILE: usize = 256 * 1024;
    const MAX_FILES: usize = 200;
    let mut paths: Vec<String> = Vec::new();
    for provisioner in model.builds.iter().flat_map(|build| &build.provisioners).filter(|one| one.kind == "file") {
        if provisioner.text("direction").as_deref() == Some("download") {
            continue;
        }
        for value in ["source", "sources"].iter().filter_map(|name| provisioner.get(name)) {
            for path in value.items().unwrap_or_default().iter().filter_map(Value::text) {
                let Ok(clean) = input.bundle.locate(&path) else { continue };
                if input.bundle.get(&clean).is_some() {
                    paths.push(clean);
                } else {
                    paths.extend(input.bundle.under(&clean).map(|(path, _)| path.to_owned()));
                }
            }
        }
    }
    let user_data = model.sources.iter().filter_map(|source| source.text("user_data_file"));
    paths.extend(user_data.filter_map(|path| input.bundle.locate(&path).ok()));
    for path in paths.iter().take(MAX_FILES) {
        if input.bundle.get(path).is_some_and(|file| file.bytes.len() <= MAX_FILE) {
            let _ = scripts::add_file(path, model, input);
        }
    }
}
