use std::io::Write as _;

use secrecy::ExposeSecret;

use super::*;

fn load(toml: &str, env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ingot.toml");
    std::fs::File::create(&path).unwrap().write_all(toml.as_bytes()).unwrap();
    let prefix = format!("{}/", folder.path().display());
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(Some(&path), env)
        .map_err(|found| found.iter().map(|complaint| complaint.to_string().replace(&prefix, "")).collect())
}

#[test]
fn an_empty_configuration_has_sound_defaults() {
    let config = Config::load(None, std::iter::empty()).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.max_bundle_bytes, 64 << 20);
    assert_eq!(config.workers.max_builds, 64);
    assert_eq!(config.data_dir, PathBuf::from("/var/lib/ingot"));
    assert_eq!(config.accounts.keys().collect::<Vec<_>>(), ["default"]);
    assert_eq!(config.aws.rates, crate::cloud::budget::RateLimits::default());
    assert!(config.database.url.is_none() && config.policy.ssh_hosts.is_empty() && !config.policy.shell_local);
}

#[test]
fn lint_rules_have_levels() {
    use crate::domain::lint::LintLevel;
    let config = load("[lint]\nall = \"info\"\nami-name-static = \"block\"\n", &[]).unwrap();
    assert_eq!(config.lint.level("ami-name-static"), Some(LintLevel::Block));
    assert_eq!(config.lint.level("manifest-missing"), Some(LintLevel::Info));
    assert!(config.describe().contains("lint.ami-name-static"));
    let complaints = load("[lint]\nami-name-statik = \"block\"\nall = \"loud\"\n", &[]).unwrap_err();
    assert!(complaints.iter().any(|complaint| complaint.contains("ami-name-static")), "{complaints:?}");
    assert!(complaints.iter().any(|complaint| complaint.contains("\"loud\" is no level")), "{complaints:?}");
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = "data_dir = \"/a\"\n[server]\nlisten = \"127.0.0.1:1\"\nmax_files = 5\n";
    let env = [
        ("INGOT__SERVER__LISTEN", "0.0.0.0:9"),
        ("INGOT__POLICY__SSH_HOSTS", "127.77.0.0/16, bastion"),
        ("INGOT__POLICY__SHELL_LOCAL", "true"),
        ("INGOT__ACCOUNTS__PROD__ROLE_ARN", "arn:aws:iam::123456789012:role/ingot"),
        ("INGOT__DATABASE__URL", "postgres://u:hunter2@db/x"),
        ("INGOT__DATA_DIR", "/b"),
        ("INGOT_CONFIG", "ignored"),
    ];
    let config = load(file, &env).unwrap();
    assert_eq!((config.server.listen.to_string().as_str(), config.server.max_files), ("0.0.0.0:9", 5));
    assert_eq!(config.policy.ssh_hosts, ["127.77.0.0/16", "bastion"]);
    assert_eq!(config.accounts.keys().collect::<Vec<_>>(), ["prod"]);
    assert_eq!(config.data_dir, PathBuf::from("/b"));
    assert_eq!(config.database.url.as_ref().unwrap().expose_secret(), "postgres://u:hunter2@db/x");
    assert!(!config.describe().contains("hunter2") && !format!("{config:?}").contains("hunter2"));
    assert_eq!(config.policies()["prod"].ssh_hosts, config.policy.ssh_hosts);
    assert!(config.policies()["prod"].shell_local);
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let file = r#"
[server]
lisen = "127.0.0.1:1"
max_files = "many"
request_timeout = "5 minutes"

[database]
url = "mysql://u:hunter2@db"

[network]
source_cidrs = ["10.0.0.0/8", "0.0.0.0/0"]

[accounts.prod]
account_id = 123
external_id = "x"
[accounts.prod.defaults]
subnet_id = "subnet-1"

[serverr]
"#;
    let complaints = load(file, &[("INGOT__LOG__FORMAT", "xml")]).unwrap_err().join("\n");
    assert!(!complaints.contains("hunter2"), "{complaints}");
    insta::assert_snapshot!(complaints, @r#"
    ingot.toml:4:1: server.max_files must be a whole number from 1 to 1000000
    ingot.toml:5:1: server.request_timeout: "5 minutes" is not a duration; write it like "90s", "30m", "2h", "1h30m" or "30d"
    ingot.toml:3:1: unknown setting "server.lisen": did you mean "listen"?
    ingot.toml:8:1: database.url: must begin with postgres:// (the value is not shown, it may hold a password)
    ingot.toml:11:31: network.source_cidrs: 0.0.0.0/0 would open every machine that is being built to the whole internet: name the networks that the servers reach the machines from; a template can ask for more itself with temporary_security_group_source_cidrs
    INGOT__LOG__FORMAT: log.format: "xml" is neither "text" nor "json"
    ingot.toml:14:1: accounts.prod.account_id must be text in quotes, not a number
    ingot.toml:13:11: external_id has no meaning without role_arn
    ingot.toml:17:1: accounts.prod.defaults.subnet_id does not work yet: say it in the template for now
    ingot.toml:19:2: unknown section "serverr": did you mean "server"?
    "#);
}

#[test]
fn some_connections_are_kept_for_reads() {
    let reads = |file: &str| load(file, &[]).map(|config| config.database.read_connections);
    assert_eq!(reads(""), Ok(6));
    assert_eq!(reads("[database]\nmax_connections = 20\n"), Ok(10));
    assert_eq!(reads("[database]\nmax_connections = 2\n"), Ok(1));
    assert_eq!(reads("[database]\nmax_connections = 3\nread_connections = 2\n"), Ok(2));
    insta::assert_snapshot!(reads("[database]\nmax_connections = 3\nread_connections = 3\n").unwrap_err().join("\n"), @"ingot.toml:3:1: database.read_connections must be a whole number from 1 to 2");
}

#[test]
fn templates_may_move_stages_that_there_are() {
    let config = load("[stages]\nnames = [\"dev\", \"live\"]\nfrom_templates = [\"dev\"]\n", &[]).unwrap();
    assert_eq!(config.stages.from_templates, ["dev"]);
    assert!(config.describe().contains("stages.from_templates = dev\n"));
    let wrong = load("[stages]\nfrom_templates = [\"live\"]\n", &[]).unwrap_err().join("\n");
    insta::assert_snapshot!(wrong, @r#"ingot.toml:1:2: stages.from_templates: there is no stage "live" in stages.names"#);
}

#[test]
fn rates_of_calls_are_read_and_shown() {
    let env = [("INGOT__AWS__LAUNCH_RATE", "120/m"), ("INGOT__AWS__LAUNCH_BURST", "7")];
    let config = load("[aws]\ndescribe_rate = \"0.5/s\"\n", &env).unwrap();
    assert_eq!((config.aws.rates.launch.per_second, config.aws.rates.launch.burst), (2.0, 7.0));
    let shown = config.describe();
    assert!(shown.contains("aws.describe_rate = 0.5/s\naws.describe_burst = 50\n"), "{shown}");
    let complaints = load("[aws]\nchange_rate = 5\nlaunch_burst = 0\n", &[]).unwrap_err();
    assert_eq!(complaints.len(), 2, "{complaints:?}");
}

#[test]
fn the_janitor_is_set_in_file_and_environment() {
    let file = "[janitor]\ninterval = \"1m\"\nremove_packer_leftovers = false\n";
    let config = load(file, &[("INGOT__JANITOR__REMOVE_PACKER_LEFTOVERS", "true")]).unwrap();
    let sweeps = config.janitor.sweeps;
    assert_eq!((sweeps.interval.as_secs(), sweeps.packer_leftover_age.as_secs()), (60, 24 * 3600));
    assert!(sweeps.remove_packer_leftovers);
    assert!(config.describe().contains("janitor.remove_packer_leftovers = true\n"));
    let wrong = "[janitor]\ninterval = \"1s\"\npacker_leftover_age = \"5m\"\nremove_packer_leftovers = 1\n";
    insta::assert_snapshot!(load(wrong, &[]).unwrap_err().join("\n"), @r#"
    ingot.toml:2:1: janitor.interval: "1s" is too short; at least 10s
    ingot.toml:3:1: janitor.packer_leftover_age: "5m" is too short; at least 1h
    ingot.toml:4:1: janitor.remove_packer_leftovers must be true or false
    "#);
}

#[test]
fn toml_that_does_not_parse_says_where() {
    let complaints = load("[server]\nlisten = \n", &[]).unwrap_err();
    assert!(complaints[0].starts_with("ingot.toml:2:"), "{complaints:?}");
    let missing = Config::load(Some(Path::new("/does/not/exist.toml")), std::iter::empty()).unwrap_err();
    assert!(missing[0].summary.contains("/does/not/exist.toml"));
}

#[test]
fn the_commented_example_is_right() {
    let example = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/ingot.toml")).unwrap();
    // Every setting stands there as a comment that only needs its `# ` taken off.
    let lines = example.lines().map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line));
    let set = lines.collect::<Vec<_>>().join("\n");
    let config = load(&set, &[]).unwrap_or_else(|found| panic!("{}", found.join("\n")));
    assert!(config.accounts.contains_key("prod"));
}

fn is_setting(line: &str) -> bool {
    line.starts_with('[')
        || line
            .split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
}
