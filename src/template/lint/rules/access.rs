//! Who gets at the machine and at the image, and with which keys.

use crate::domain::lint::LintLevel;
use crate::template::lint::context::Context;
use crate::template::lint::findings::Findings;
use crate::template::lint::model::{Build, Component, Entry, Kind, Place, Value};
use crate::template::lint::shell;

pub fn check(context: &Context<'_>, findings: &mut Findings) {
    let model = &context.model;
    for source in model.sources.iter().filter(|source| source.is_amazon()) {
        ssh_user(context, source, findings);
        open_to_the_world(source, findings);
        public(source, findings);
        metadata(source, findings);
        one_zone(source, findings);
    }
    let post_processors = model.builds.iter().flat_map(|build| &build.post_processors);
    for component in model.sources.iter().chain(&model.data).chain(post_processors) {
        if component.kind.starts_with("amazon") {
            keys(context, component, findings);
        }
    }
    for (index, build) in model.builds.iter().enumerate() {
        keys_on_the_machine(build, findings);
        for script in context.scripts_of(index) {
            for command in &script.parsed.commands {
                let Some(simple) = shell::simple(command) else { continue };
                let opens = simple.name == "aws" && simple.has("authorize-security-group-ingress");
                for word in simple.arguments.iter().filter(|word| opens && is_everywhere(&word.text)) {
                    report_open(script.place(&word.span), findings);
                }
            }
        }
    }
}

/// The user that images of a kind have, by a part of their name. The first that matches counts.
const USERS_BY_NAME: &[(&str, &[&str], &str)] = &[
    ("bitnami", &["bitnami"], "Bitnami's images"),
    ("windows", &["Administrator"], "Windows"),
    ("ubuntu", &["ubuntu"], "Ubuntu"),
    ("debian", &["admin"], "Debian"),
    ("amzn", &["ec2-user"], "Amazon Linux"),
    ("al2023", &["ec2-user"], "Amazon Linux"),
    ("amazon-linux", &["ec2-user"], "Amazon Linux"),
    ("amazon-eks", &["ec2-user"], "Amazon Linux"),
    ("bottlerocket", &["ec2-user"], "Bottlerocket"),
    ("rhel", &["ec2-user"], "Red Hat Enterprise Linux"),
    ("centos", &["centos", "ec2-user"], "CentOS"),
    ("rocky", &["rocky"], "Rocky Linux"),
    ("almalinux", &["ec2-user", "almalinux"], "AlmaLinux"),
    ("suse", &["ec2-user"], "SUSE"),
    ("sles", &["ec2-user"], "SUSE"),
    ("fedora-coreos", &["core"], "Fedora CoreOS"),
    ("fedora", &["fedora"], "Fedora"),
    ("flatcar", &["core"], "Flatcar"),
    ("kali", &["kali"], "Kali"),
    ("freebsd", &["ec2-user"], "FreeBSD"),
    ("alpine", &["alpine"], "Alpine"),
];

/// Publishers' accounts, and what they publish when the name does not tell.
const PUBLISHERS: &[(&str, &str)] = &[
    ("amazon", ""),
    ("aws-marketplace", ""),
    ("679593333241", ""),
    ("137112412989", "amzn"),
    ("591542846629", "amzn"),
    ("602401143452", "amzn"),
    ("099720109477", "ubuntu"),
    ("513442679011", "ubuntu"),
    ("837727238323", "ubuntu"),
    ("136693071363", "debian"),
    ("379101102735", "debian"),
    ("309956199498", "rhel"),
    ("125523088429", ""),
    ("792107900819", "rocky"),
    ("764336703387", "almalinux"),
    ("013907871322", "suse"),
    ("075585003325", "flatcar"),
    ("782442783595", "freebsd"),
    ("538276064493", "alpine"),
];

/// The users and the name of the base image's system; nothing for an image of one's own, which may have any user.
fn base_users(context: &Context<'_>, source: &Component) -> Option<(&'static [&'static str], &'static str)> {
    let (name, owners) = context.base_image(source);
    let known: Vec<&str> = owners
        .iter()
        .filter_map(|owner| PUBLISHERS.iter().find(|(id, _)| id == owner))
        .map(|(_, kind)| *kind)
        .collect();
    if known.len() < owners.len() {
        return None;
    }
    let name = name.unwrap_or_default().to_lowercase();
    let by = |text: &str| {
        USERS_BY_NAME.iter().find(|(part, ..)| text.contains(part)).map(|(_, users, what)| (*users, *what))
    };
    by(&name).or_else(|| match known.as_slice() {
        [only] if !only.is_empty() => by(only),
        _ => None,
    })
}

fn ssh_user(context: &Context<'_>, source: &Component, findings: &mut Findings) {
    let connects = source.text("communicator").is_none_or(|communicator| communicator == "ssh");
    let Some(user) = context.ssh_user(source).filter(|_| connects) else { return };
    let place = source.get("ssh_username").map_or(source.at, |value| value.place);
    // User data may make the user, or let root in.
    let mut made = false;
    for name in ["user_data", "user_data_file"] {
        if let Some(data) = source.get(name) {
            made |= data.text().is_none_or(|text| text.contains(&user)) || name == "user_data_file";
        }
    }
    if made {
        return;
    }
    let base = base_users(context, source);
    if user == "root" {
        let what = base.map_or_else(
            || {
                "Ubuntu's user is ubuntu, Debian's admin, Rocky's rocky, Amazon Linux's and Red Hat's ec2-user"
                    .to_owned()
            },
            |(users, what)| format!("the user of {what} is {}", users.join(" or ")),
        );
        findings.add(
            "ssh-user-root",
            place,
            "ssh_username is root",
            format!("Cloud images refuse root over SSH, and the build waits until ssh_timeout is over. Here {what}; commands get root by sudo."),
        );
    } else if let Some((users, what)) = base
        && !users.contains(&user.as_str())
    {
        findings.add(
            "ssh-user-mismatch",
            place,
            format!("ssh_username is {user}, and {what} has no such user"),
            format!("The build would wait for SSH until ssh_timeout is over. Write {}.", users.join(" or ")),
        );
    }
}

fn is_everywhere(cidr: &str) -> bool {
    matches!(cidr.trim(), "0.0.0.0/0" | "::/0")
}

fn report_open(place: Place, findings: &mut Findings) {
    findings.add(
        "security-group-open",
        place,
        "the security group lets everybody in",
        "Scanners find an open SSH port within minutes. Name the networks that need it; without \
         temporary_security_group_source_cidrs Ingot lets in only its own address.",
    );
}

fn open_to_the_world(source: &Component, findings: &mut Findings) {
    if let Some(value) = source.get("temporary_security_group_source_cidrs") {
        let mut places = Vec::new();
        value.literals(&mut |text, place| {
            if text.split(',').any(is_everywhere) {
                places.push(place);
            }
        });
        for place in places {
            report_open(place, findings);
        }
    }
}

fn public(source: &Component, findings: &mut Findings) {
    for name in ["ami_groups", "snapshot_groups"] {
        let mut places = Vec::new();
        if let Some(value) = source.get(name) {
            value.literals(&mut |text, place| {
                if text == "all" {
                    places.push(place);
                }
            });
        }
        for place in places {
            findings.add(
                "ami-public",
                place,
                format!("{name} shares with every AWS account"),
                "Everything that is in the image can be read by anybody, for as long as it exists. List the accounts in ami_users, \
                 or the organisation in ami_org_arns.",
            );
        }
    }
}

fn metadata(source: &Component, findings: &mut Findings) {
    if let Some(value) = source.get("metadata_options.http_tokens")
        && value.text().as_deref() == Some("optional")
    {
        findings.add(
            "imds-v1-allowed",
            value.place,
            "http_tokens is optional: the metadata service answers without a token",
            "A web request that a program can be talked into is then enough to get the machine's credentials. Write \
             http_tokens = \"required\", and imds_support = \"v2.0\" for machines launched from the image.",
        );
    }
}

fn one_zone(source: &Component, findings: &mut Findings) {
    for name in ["availability_zone", "subnet_id"] {
        let Some(entry) = source.entry(name).filter(|entry| !entry.value.is_empty() && !entry.value.changes()) else {
            continue;
        };
        findings.add(
            "single-az",
            entry.value.place,
            format!("{name} ties the build to one availability zone"),
            "When that zone has no machine of this type left, no image can be built. Leave availability_zone out, or find the subnet by \
             subnet_filter with most_free or random.",
        );
        return;
    }
}

fn keys(context: &Context<'_>, component: &Component, findings: &mut Findings) {
    for name in ["access_key", "secret_key"] {
        let Some(entry) = component.entry(name) else { continue };
        if matches!(entry.value.kind, Kind::Null) || context.model.raw(entry.value.place).trim_matches('"').is_empty() {
            continue;
        }
        findings.add(
            "long-lived-keys",
            entry.key_place,
            format!("{name}: the template uses an AWS access key"),
            "An access key works for whoever finds it until somebody remembers to replace it. Remove access_key and secret_key: Ingot \
             takes a role in each account (`[accounts.NAME] role_arn`), whose credentials end after an hour.",
        );
    }
}

/// Keys that provisioners are given.
fn keys_on_the_machine(build: &Build, findings: &mut Findings) {
    const NAMES: &[&str] = &["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"];
    let mut places: Vec<Place> = Vec::new();
    for provisioner in &build.provisioners {
        for value in ["environment_vars", "ansible_env_vars"].iter().filter_map(|name| provisioner.get(name)) {
            for item in value.items().unwrap_or_default() {
                let mut first = None;
                item.literals(&mut |text, place| {
                    first.get_or_insert((text.split('=').next().unwrap_or_default(), place));
                });
                places.extend(first.filter(|(name, _)| NAMES.contains(name)).map(|(_, place)| place));
            }
        }
        let env = provisioner.get("env").and_then(Value::entries).unwrap_or_default();
        places.extend(
            env.iter().filter(|entry| NAMES.contains(&entry.key.as_str())).map(|entry: &Entry| entry.key_place),
        );
        if provisioner.kind == "file"
            && let Some(value) = provisioner.get("source")
            && value
                .text()
                .is_some_and(|source| source.contains(".aws/credentials") || source.ends_with("aws/credentials"))
        {
            places.push(value.place);
        }
    }
    for place in places {
        findings.add_at(
            "long-lived-keys",
            Some(LintLevel::Warning),
            place,
            "the machine is given an AWS access key",
            "What a provisioner knows can end up in the image, and an access key works until somebody replaces it. Give the machine a \
             role: iam_instance_profile.",
        );
    }
}
