//! `data` blocks: their options, and what their attributes are.

use std::cell::RefCell;

use indexmap::IndexMap;

use super::blocks::Data;
use crate::domain::config::data_source::{
    AmazonAmiData, DataAccess, DataRequest, DataResult, DataSourceConfig, HttpData, ParameterData, SecretData,
};
use crate::domain::diagnostic::Diagnostic;
use crate::template::decode::amazon_ebs::{network, required, role};
use crate::template::decode::body::{Context, Decoder, Rule, Rules};
use crate::template::legacy::early::{Early, NOW};
use crate::template::options::Options;
use crate::template::runtime::Runtime;
use crate::template::source::did_you_mean;
use crate::template::value::Value;
use crate::template::{DataMode, Request};

/// Data source types and their attributes.
const TYPES: &[(&str, &[&str])] = &[
    ("amazon-ami", &["id", "name", "creation_date", "owner", "owner_name", "tags"]),
    ("amazon-parameterstore", &["value", "version", "arn"]),
    ("amazon-secretsmanager", &["value", "secret_string", "secret_binary", "version_id"]),
    ("http", &["url", "body", "request_headers"]),
    ("null", &["output"]),
];

const ELSEWHERE: &[&str] = &[
    "hcp-packer-artifact",
    "hcp-packer-image",
    "hcp-packer-iteration",
    "hcp-packer-version",
    "git-commit",
    "git-repository",
];

/// What is known of a data source.
pub enum Answer {
    Value(Value),
    /// It has to be fetched.
    Request(Box<DataRequest>),
}

/// A data source's attributes while they are unknown.
#[must_use]
pub fn unknown(kind: &str) -> Value {
    let attributes = TYPES.iter().find(|(name, _)| *name == kind).map(|(_, attributes)| *attributes);
    attributes.map_or(Value::UNKNOWN, |attributes| {
        Value::object(attributes.iter().map(|name| ((*name).to_owned(), Value::UNKNOWN)).collect())
    })
}

/// Checks a block's options and says what its attributes are. Complaints go to `complaints`.
pub fn answer(
    data: &Data<'_>,
    options: &Options,
    request: &Request<'_>,
    runtime: &Runtime<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Answer {
    if !TYPES.iter().any(|(kind, _)| *kind == data.kind) {
        let types = || TYPES.iter().map(|(kind, _)| *kind);
        let diagnostic = if ELSEWHERE.contains(&data.kind.as_str()) {
            let detail = format!("there are {}; give the value as a variable", types().collect::<Vec<_>>().join(", "));
            data.file
                .error(data.kind_span, format!("data source {:?} can't be used here", data.kind))
                .with_detail(detail)
        } else {
            let hint = did_you_mean(&data.kind, types());
            data.file.error(data.kind_span, format!("there is no data source {:?}", data.kind)).with_detail(hint)
        };
        complaints.push(diagnostic);
        return Answer::Value(Value::UNKNOWN);
    }
    let decoded = RefCell::new(Vec::new());
    let early = Early::new(runtime, &data.name, &data.kind);
    let context = Context { bundle: request.bundle, early, complaints: &decoded };
    let answer = decode(data, &Decoder::new(options, &context), request);
    let mut found = decoded.into_inner();
    let failed = found.iter().any(Diagnostic::is_error);
    complaints.append(&mut found);
    match answer {
        // What has faults, or waits for other data, is not fetched.
        Answer::Request(_) if failed || options.is_unknown() => Answer::Value(unknown(&data.kind)),
        answer => answer,
    }
}

fn decode(data: &Data<'_>, decoder: &Decoder<'_>, request: &Request<'_>) -> Answer {
    if data.kind == "null" {
        return Answer::Value(null(decoder));
    }
    let config = match data.kind.as_str() {
        "amazon-ami" => DataSourceConfig::AmazonAmi(amazon_ami(decoder)),
        "amazon-parameterstore" => DataSourceConfig::AmazonParameterstore(ParameterData {
            access: access(decoder),
            name: required(decoder, "name", "the parameter to read, such as /images/base"),
            with_decryption: decoder.flag("with_decryption").unwrap_or(false),
        }),
        "amazon-secretsmanager" => DataSourceConfig::AmazonSecretsmanager(SecretData {
            access: access(decoder),
            name: required(decoder, "name", "the secret to read, by its name or ARN"),
            key: decoder.string("key"),
            version_id: decoder.string("version_id"),
            version_stage: decoder.string("version_stage"),
        }),
        _ => DataSourceConfig::Http(http(decoder)),
    };
    decoder.finish(&format!("data {:?}", data.kind), if data.kind == "http" { &[] } else { RULES });
    let asked = DataRequest { name: data.name.clone(), at: decoder.at().clone(), config };
    if let DataMode::Given(results) = request.data
        && let Some(result) = results.0.get(&asked.key())
    {
        return Answer::Value(attributes(result));
    }
    Answer::Request(Box::new(asked))
}

/// Options for reaching AWS that a server's account takes the place of.
const RULES: Rules = &[
    ("access_key", Rule::Refused("the server's account gives the credentials: name it with account in the run")),
    ("secret_key", Rule::Refused("the server's account gives the credentials: name it with account in the run")),
    ("token", Rule::Refused("the server's account gives the credentials: name it with account in the run")),
    ("profile", Rule::Refused("the server's account gives the credentials: name it with account in the run")),
    (
        "shared_credentials_file",
        Rule::Refused("the server's account gives the credentials: name it with account in the run"),
    ),
    ("mfa_code", Rule::Refused("the server's account gives the credentials: name it with account in the run")),
    ("vault_aws_engine", Rule::Refused("the server's account gives the credentials: name it with account in the run")),
    ("custom_endpoint_ec2", Rule::Refused("endpoints are the server's configuration: [aws] endpoint_url")),
    ("insecure_skip_tls_verify", Rule::Refused("certificates are always checked")),
    ("skip_credential_validation", Rule::Refused("leave it out: credentials are checked when they are used")),
    ("skip_metadata_api_check", Rule::Refused("leave it out: the server's account gives the credentials")),
    ("decode_authorization_messages", Rule::Refused("leave it out: what AWS says is passed on")),
    ("max_retries", Rule::Refused("leave it out: calls are repeated as long as there is time for them")),
];

fn access(decoder: &Decoder<'_>) -> DataAccess {
    let default = decoder.context.early.runtime.default_region();
    let region = decoder.string("region").or_else(|| default.map(str::to_owned));
    DataAccess { region, assume_role: role::needed_role(decoder) }
}

fn amazon_ami(decoder: &Decoder<'_>) -> AmazonAmiData {
    let filters = network::from_map(decoder);
    let owners = decoder.strings("owners");
    if filters.is_empty() && !decoder.is_unknown("filters") {
        let detail = "say which image is meant: filters = { name = \"…\" }";
        decoder.error_at("filters", "filters is missing", detail);
    }
    if owners.is_empty() && !decoder.is_unknown("owners") {
        let detail = "anybody can publish an image of that name: say whose is meant, such as owners = [\"amazon\"]";
        decoder.error_at("owners", "owners is missing", detail);
    }
    AmazonAmiData {
        access: access(decoder),
        filters,
        owners,
        most_recent: decoder.flag("most_recent").unwrap_or(false),
        include_deprecated: decoder.flag("include_deprecated").unwrap_or(false),
    }
}

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

fn http(decoder: &Decoder<'_>) -> HttpData {
    let url = required(decoder, "url", "what to ask, such as https://example.com/version");
    if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
        decoder.error_at("url", format!("{url:?} is no URL that begins with https:// or http://"), "");
    }
    let method = decoder.text("method");
    if let Some(method) = method.as_ref().filter(|method| !METHODS.contains(&method.value.as_str())) {
        let hint = did_you_mean(&method.value, METHODS.iter().copied());
        decoder.error(&method.at, format!("there is no method {:?}", method.value), hint);
    }
    HttpData {
        url,
        method: method.map_or_else(|| "GET".to_owned(), |method| method.value),
        request_headers: decoder
            .map("request_headers", NOW)
            .into_iter()
            .map(|(key, value)| (key.value, value.value.0))
            .collect(),
        request_body: decoder.string("request_body").unwrap_or_default(),
    }
}

/// `null` gives back what it is given, as text.
fn null(decoder: &Decoder<'_>) -> Value {
    let input = required(decoder, "input", "what output is to be");
    let output = if decoder.is_unknown("input") { Value::UNKNOWN } else { Value::string(input) };
    decoder.finish("data \"null\"", &[]);
    Value::object(IndexMap::from([("output".to_owned(), output)]))
}

/// A result as the template sees it. Secrets and secure parameters are sensitive.
fn attributes(result: &DataResult) -> Value {
    let object = |entries: &[(&str, &str)], sensitive: &[&str]| -> IndexMap<String, Value> {
        let value = |name: &str, text: &str| Value::string(text).marked(sensitive.contains(&name));
        entries.iter().map(|(name, text)| ((*name).to_owned(), value(name, text))).collect()
    };
    let map = |entries: &IndexMap<String, String>| {
        let entries = entries.iter().map(|(key, text)| (key.clone(), Value::string(text.as_str()))).collect();
        Value::mapping(crate::template::value::MappingShape::Map, entries)
    };
    Value::object(match result {
        DataResult::AmazonAmi { id, name, creation_date, owner, owner_name, tags } => {
            let texts = [
                ("id", id.as_str()),
                ("name", name),
                ("creation_date", creation_date),
                ("owner", owner),
                ("owner_name", owner_name),
            ];
            let mut entries = object(&texts, &[]);
            entries.insert("tags".to_owned(), map(tags));
            entries
        }
        DataResult::AmazonParameterstore { value, version, arn, secure } => {
            object(&[("value", value), ("version", version), ("arn", arn)], if *secure { &["value"] } else { &[] })
        }
        DataResult::AmazonSecretsmanager { value, secret_string, secret_binary, version_id } => object(
            &[
                ("value", value),
                ("secret_string", secret_string),
                ("secret_binary", secret_binary),
                ("version_id", version_id),
            ],
            &["value", "secret_string", "secret_binary"],
        ),
        DataResult::Http { url, body, request_headers } => {
            let mut entries = object(&[("url", url), ("body", body)], &[]);
            entries.insert("request_headers".to_owned(), map(request_headers));
            entries
        }
    })
}
