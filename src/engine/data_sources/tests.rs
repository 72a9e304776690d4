//! Data sources against the fake cloud.

use super::*;
use crate::cloud::fake::FakeCloud;
use crate::domain::config::launch::AssumeRole;
use crate::domain::diagnostic::SourceLocation;

fn request(name: &str, config: DataSourceConfig) -> DataRequest {
    let at = SourceLocation { file: "t.pkr.hcl".to_owned(), line: 3, column: 1 };
    DataRequest { name: name.to_owned(), at, config }
}

fn sources(cloud: &FakeCloud) -> DataSources {
    DataSources { accounts: Some(Arc::new(cloud.clone())), http_allow: Vec::new() }
}

/// In the region of the tests' cloud, as whoever the account is.
fn here() -> DataAccess {
    DataAccess { region: Some("us-east-1".to_owned()), assume_role: None }
}

async fn ask(sources: &DataSources, policy: &Policy, asked: &[DataRequest]) -> Result<DataResults, Vec<String>> {
    let mut results = DataResults::default();
    let done = sources.fetch("default", policy, asked, &mut results).await;
    done.map(|()| results).map_err(|complaints| complaints.iter().map(ToString::to_string).collect())
}

fn secret(name: &str, key: Option<&str>) -> DataSourceConfig {
    let key = key.map(str::to_owned);
    DataSourceConfig::AmazonSecretsmanager(SecretData {
        name: name.to_owned(),
        key,
        access: here(),
        ..SecretData::default()
    })
}

fn parameter(name: &str, access: DataAccess) -> DataSourceConfig {
    DataSourceConfig::AmazonParameterstore(ParameterData { access, name: name.to_owned(), with_decryption: true })
}

#[tokio::test(start_paused = true)]
async fn parameters_and_secrets_are_read() {
    let cloud = FakeCloud::new();
    cloud.set_parameter("us-east-1", "/web/version", "1.2.3", false);
    let _ = cloud.set_secret("us-east-1", "db", SecretContent::Text(r#"{"user": "u", "port": 5432}"#.to_owned()));
    let _ = cloud.set_secret("us-east-1", "plain", SecretContent::Text("swordfish".to_owned()));
    let _ = cloud.set_secret("us-east-1", "bytes", SecretContent::Binary(vec![0, 255]));
    let asked = [
        request("version", parameter("/web/version", here())),
        request("user", secret("db", Some("user"))),
        request("port", secret("db", Some("port"))),
        request("first", secret("db", None)),
        request("plain", secret("plain", None)),
        request("bytes", secret("bytes", None)),
    ];
    let results = ask(&sources(&cloud), &Policy::default(), &asked).await.unwrap().0;
    let value = |key: &str| match &results[key] {
        DataResult::AmazonSecretsmanager { value, .. } | DataResult::AmazonParameterstore { value, .. } => {
            value.clone()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(value("amazon-parameterstore.version"), "1.2.3");
    let secrets = ["user", "port", "first", "plain"].map(|name| value(&format!("amazon-secretsmanager.{name}")));
    assert_eq!(secrets, ["u", "5432", "u", "swordfish"]);
    let DataResult::AmazonSecretsmanager { secret_binary, .. } = &results["amazon-secretsmanager.bytes"] else {
        panic!()
    };
    assert_eq!(secret_binary, "AP8=");
}

#[tokio::test(start_paused = true)]
async fn each_that_can_not_be_read_is_told_at_its_place_without_secrets() {
    let cloud = FakeCloud::new();
    let _ = cloud.set_secret("us-east-1", "plain", SecretContent::Text("swordfish".to_owned()));
    let other = role("arn:aws:iam::1:role/other");
    let asked = [
        request("none", parameter("/none", here())),
        request("key", secret("plain", Some("user"))),
        request("role", parameter("/x", DataAccess { assume_role: Some(other), ..here() })),
        request(
            "page",
            DataSourceConfig::Http(HttpData { url: "http://169.254.169.254/".to_owned(), ..HttpData::default() }),
        ),
        request(
            "ami",
            DataSourceConfig::AmazonAmi(AmazonAmiData {
                access: here(),
                owners: vec!["self".to_owned()],
                ..AmazonAmiData::default()
            }),
        ),
    ];
    let complaints = ask(&sources(&cloud), &Policy::default(), &asked).await.unwrap_err();
    assert_eq!(complaints.len(), asked.len(), "{complaints:#?}");
    for (complaint, part) in
        complaints.iter().zip(["NotFound", "no JSON object", "allowed_roles", "http_allow", "no image matches"])
    {
        assert!(complaint.starts_with("t.pkr.hcl:3:1: ") && complaint.contains(part), "{complaint}");
        assert!(!complaint.contains("swordfish"), "{complaint}");
    }
    let nowhere = [request("nowhere", parameter("/x", DataAccess::default()))];
    let complaints = ask(&sources(&cloud), &Policy::default(), &nowhere).await.unwrap_err();
    assert!(complaints[0].contains("names no region"), "{complaints:?}");
    let many: Vec<DataRequest> = (0..=MOST).map(|at| request(&at.to_string(), secret("plain", None))).collect();
    let complaints = ask(&sources(&cloud), &Policy::default(), &many).await.unwrap_err();
    assert!(complaints[0].contains("more than 50"), "{complaints:?}");
}

fn role(arn: &str) -> AssumeRole {
    AssumeRole { role_arn: arn.to_owned(), ..AssumeRole::default() }
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_allowed_is_taken_on() {
    let cloud = FakeCloud::new();
    let arn = "arn:aws:iam::123456789012:role/reader";
    cloud.add_assumable_role(arn, None);
    cloud.set_parameter("eu-west-1", "/x", "y", true);
    let access = DataAccess { region: Some("eu-west-1".to_owned()), assume_role: Some(role(arn)) };
    let policy = Policy { allowed_roles: vec!["arn:aws:iam::123456789012:role/*".to_owned()], ..Policy::default() };
    let results = ask(&sources(&cloud), &policy, &[request("x", parameter("/x", access))]).await.unwrap();
    let DataResult::AmazonParameterstore { value, secure, .. } = &results.0["amazon-parameterstore.x"] else {
        panic!()
    };
    assert_eq!((value.as_str(), *secure), ("y", true));
    assert_eq!(cloud.assumed_roles().len(), 1);
}
