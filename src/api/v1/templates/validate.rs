//! `POST /v1/templates/validate`.

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::diagnostic::TemplateDiagnostic;
use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Complaint, Problem};
use crate::api::query::Query;
use crate::api::v1::runs::request::RunRequest;
use crate::api::{ApiState, body};
use crate::domain::error::{Error, Result};
use crate::engine::validate::{Checks, ValidatedBuild, validate};

/// What there is to say of a template, and what a run of it would be.
#[derive(Debug, Serialize, ToSchema)]
pub struct Validation {
    /// Whether a run would be accepted: no diagnostic is an error.
    pub valid: bool,
    pub account: String,
    /// Every error and warning, by place.
    pub diagnostics: Vec<TemplateDiagnostic>,
    /// The warnings of `diagnostics`, as runs show them.
    pub warnings: Vec<Complaint>,
    /// Of a template that is not valid, those that can be told without evaluating it.
    pub builds: Vec<ValidBuild>,
    /// Evaluated variables; `<sensitive>` stands for values that are hidden. Empty when the template is not valid.
    #[schema(value_type = Object)]
    pub variables: Value,
}

/// A build of a run that would be made.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValidBuild {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// Names of its steps in waves; the steps of a wave go in parallel. Only of a template that was evaluated and is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Vec<String>>>,
}

impl From<ValidatedBuild> for ValidBuild {
    fn from(build: ValidatedBuild) -> Self {
        let wave = |wave: Vec<crate::domain::plan::PlannedStep>| wave.into_iter().map(|step| step.name.0).collect();
        Self {
            name: build.name,
            kind: build.builder_type,
            steps: build.plan.map(|plan| plan.waves.into_iter().map(wave).collect()),
        }
    }
}

/// Validate a template
///
/// Takes what `POST /v1/runs` takes, evaluates and checks it in the same way, and stores nothing. What is wrong with the
/// template is no problem document here but `valid: false` with every diagnostic; a problem is what is wrong with the
/// request.
#[utoipa::path(
    post,
    path = "/v1/templates/validate",
    tag = "templates",
    params(
        ("syntax_only" = Option<bool>, Query, description = "Only whether the files can be parsed and have the right structure; variables need no values"),
        ("evaluate_datasources" = Option<bool>, Query, description = "Data sources are asked; else their results are unknown, and what depends on them is not checked"),
        ("lint" = Option<bool>, Query, description = "What lint rules find, too: habits that work and that people regret, each with its rule"),
    ),
    request_body(
        description = "As for `POST /v1/runs`, with the same query for the raw forms",
        content(
            (RunRequest = "application/json"),
            (String = "application/hcl"),
            (String = "application/vnd.packer.template+json"),
            (String = "application/gzip"),
            (String = "multipart/form-data"),
        )
    ),
    responses(
        (status = 200, description = "What there is to say of the template", body = Validation),
        (status = 404, description = "No such stored template", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Larger than this server takes", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "A form this does not take", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The request is wrong: an unknown account, a field that can't be read", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn validate_template(
    State(state): State<ApiState>,
    _: Builder,
    mut query: Query,
    request: Request,
) -> ApiResult<Json<Validation>> {
    let checks = checks(&mut query)?;
    let form = body::read(request, &state.limits).await?;
    let wanted = RunRequest::read(form, query, &state.limits)?;
    let found = validate(&state.store, &state.accept, wanted, checks, state.clock.as_ref()).await?;
    let warnings = found.diagnostics.iter().filter(|diagnostic| !diagnostic.is_error());
    Ok(Json(Validation {
        valid: found.is_valid(),
        warnings: warnings.map(Complaint::from).collect(),
        diagnostics: found.diagnostics.iter().map(TemplateDiagnostic::from).collect(),
        account: found.account,
        builds: found.builds.into_iter().map(ValidBuild::from).collect(),
        variables: Value::Object(found.variables.into_iter().collect()),
    }))
}

fn checks(query: &mut Query) -> Result<Checks> {
    let checks = Checks {
        syntax_only: query.parsed("syntax_only")?.unwrap_or(false),
        lint: query.parsed("lint")?.unwrap_or(false),
        evaluate_datasources: query.parsed("evaluate_datasources")?.unwrap_or(false),
    };
    if checks.syntax_only && checks.evaluate_datasources {
        let public = "syntax_only evaluates nothing: leave it out, or evaluate_datasources.";
        return Err(Error::bad_request("query-invalid", public));
    }
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::api::testing::{TEMPLATE, TestApi};
    use crate::domain::lint::LintLevel;
    use crate::domain::role::Role;

    const HCL: &str = "application/hcl";
    const PATH: &str = "/v1/templates/validate";

    async fn builder() -> (TestApi, String) {
        let api = TestApi::new().await;
        let token = api.token(Role::Builder, None).await;
        (api, token)
    }

    fn summaries(answer: &Value) -> Vec<&str> {
        answer["diagnostics"].as_array().unwrap().iter().map(|found| found["summary"].as_str().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_valid_template_shows_its_builds_and_writes_nothing() {
        let (api, token) = builder().await;
        let answer = api.post(&token, &format!("{PATH}?var.base=x"), HCL, TEMPLATE).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let valid = answer.json();
        assert_eq!(
            (&valid["valid"], &valid["diagnostics"], &valid["account"]),
            (&json!(true), &json!([]), &json!("default"))
        );
        assert_eq!(
            (&valid["builds"][0]["name"], &valid["builds"][0]["steps"][0][0]),
            (&json!("amazon-ebs.web"), &json!("check"))
        );
        assert_eq!(
            (&valid["variables"]["base"], &valid["variables"]["password"]),
            (&json!("x"), &json!("<sensitive>"))
        );
        assert!(!answer.text().contains("hunter2"), "{}", answer.text());
        assert_eq!(api.get(&token, "/v1/templates").await.json()["items"], json!([]));
    }

    #[tokio::test]
    async fn channels_that_are_no_stages_are_told() {
        let (api, token) = builder().await;
        let registry = "hcp_packer_registry {\n  channels = [\"live\", \"dev\"]\n}\n";
        let answer = api.post(&token, &format!("{PATH}?var.base=x"), HCL, format!("{TEMPLATE}{registry}")).await;
        let found = answer.json();
        assert_eq!((&found["valid"], summaries(&found)), (&json!(true), vec!["channels: there is no stage \"live\""]));
    }

    #[tokio::test]
    async fn every_fault_is_told_with_its_place() {
        let (api, token) = builder().await;
        let template = TEMPLATE.replace("instance_type =", "instance_tpye =").replace("region        =", "regoin =");
        let answer = api.post(&token, PATH, HCL, template).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let found = answer.json();
        assert_eq!((&found["valid"], &found["variables"]), (&json!(false), &json!({})));
        assert_eq!(
            (&found["builds"][0]["name"], &found["builds"][0]["steps"]),
            (&json!("amazon-ebs.web"), &Value::Null)
        );
        let summaries = summaries(&found);
        for part in ["\"base\" has no value", "\"instance_tpye\"", "\"regoin\""] {
            assert!(summaries.iter().any(|summary| summary.contains(part)), "{part}: {summaries:?}");
        }
        let diagnostics = found["diagnostics"].as_array().unwrap();
        let unknown = diagnostics.iter().find(|found| found["summary"].to_string().contains("instance_tpye")).unwrap();
        assert_eq!((&unknown["severity"], &unknown["suggestion"]), (&json!("error"), &json!("instance_type")));
        assert_eq!(
            (&unknown["file"], &unknown["range"]["start"]),
            (&json!("template.pkr.hcl"), &json!({"line": 15, "column": 3}))
        );
    }

    #[tokio::test]
    async fn the_syntax_alone_needs_no_variables() {
        let (api, token) = builder().await;
        let answer = api.post(&token, &format!("{PATH}?syntax_only=true"), HCL, TEMPLATE).await.json();
        assert_eq!((&answer["valid"], &answer["builds"][0]["type"]), (&json!(true), &json!("amazon-ebs")));
        let broken = api.post(&token, &format!("{PATH}?syntax_only=true"), HCL, "source \"x\" {").await;
        assert_eq!((broken.status.as_u16(), &broken.json()["valid"]), (200, &json!(false)));
        let inline = json!({"files": {"a.pkr.hcl": TEMPLATE}});
        let answer = api.post_json(&token, &format!("{PATH}?syntax_only=true"), &inline).await.json();
        assert_eq!(answer["valid"], true, "{answer}");
    }

    #[tokio::test]
    async fn lint_rules_have_their_say_when_they_are_asked() {
        let (api, token) = builder().await;
        let plain = api.post(&token, &format!("{PATH}?var.base=x"), HCL, TEMPLATE).await.json();
        assert_eq!(plain["diagnostics"], json!([]));
        for query in ["var.base=x", "syntax_only=true", "with_an_error"] {
            let template =
                if query == "with_an_error" { TEMPLATE.replace("region ", "regoin ") } else { TEMPLATE.into() };
            let query = query.replace("with_an_error", "var.base=x");
            let answer = api.post(&token, &format!("{PATH}?lint=true&{query}"), HCL, template).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let found = answer.json();
            let rule = |id: &str| found["diagnostics"].as_array().unwrap().iter().find(|found| found["rule"] == id);
            let finding = rule("ami-id-hard-coded").unwrap_or_else(|| panic!("{found}"));
            assert_eq!((&finding["severity"], &finding["range"]["start"]["line"]), (&json!("warning"), &json!(16)));
            assert!(finding["source_line"].as_str().unwrap().contains("source_ami"), "{finding}");
            assert!(!answer.text().contains("hunter2"), "{}", answer.text());
        }
    }

    #[tokio::test]
    async fn a_rule_that_blocks_refuses_runs() {
        let api = TestApi::with_lint(&[("ami-id-hard-coded", LintLevel::Block)]).await;
        let token = api.token(Role::Builder, None).await;
        let refused = api.post(&token, "/v1/runs?name=web&var.base=one", HCL, TEMPLATE).await;
        assert_eq!(refused.problem(422), "lint-blocked");
        assert_eq!(refused.json()["errors"][0]["rule"], "ami-id-hard-coded");
        let found = api.post(&token, &format!("{PATH}?var.base=x"), HCL, TEMPLATE).await.json();
        assert_eq!((&found["valid"], &found["diagnostics"][0]["rule"]), (&json!(false), &json!("ami-id-hard-coded")));
    }

    #[tokio::test]
    async fn data_sources_are_unknown_unless_they_are_asked() {
        let (api, token) = builder().await;
        let data = "data \"http\" \"page\" {\n  url = \"http://127.0.0.1/\"\n}\nbuild {\n  name = \"page\"\n  sources = [\"source.amazon-ebs.web\"]\n  provisioner \"shell\" {\n    inline = [data.http.page.body]\n  }\n}\n";
        let template = format!("{TEMPLATE}{data}");
        let answer = api.post(&token, &format!("{PATH}?var.base=x"), HCL, template.clone()).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["valid"]), (200, &json!(true)), "{}", answer.text());
        let asked = format!("{PATH}?var.base=x&evaluate_datasources=true");
        let answer = api.post(&token, &asked, HCL, template).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(
            answer.json()["valid"],
            false,
            "the server's configuration allows no such request: {}",
            answer.text()
        );
        assert_eq!(api.post(&token, &asked, HCL, TEMPLATE).await.json()["valid"], true, "there are none to ask");
    }

    #[tokio::test]
    async fn what_the_account_does_not_allow_is_a_diagnostic() {
        let (api, token) = builder().await;
        let answer = api.post(&token, &format!("{PATH}?var.base=x&account=prod"), HCL, TEMPLATE).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let found = answer.json();
        assert_eq!((&found["valid"], &found["account"]), (&json!(false), &json!("prod")));
        assert!(summaries(&found).iter().any(|summary| summary.contains("eu-central-1")), "{found}");
    }

    /// It is a good template, which this server would not run.
    #[tokio::test]
    async fn local_scripts_are_warned_of_where_runs_with_them_are_refused() {
        let (api, token) = builder().await;
        let template = "source \"null\" \"x\" {\n  communicator = \"none\"\n}\nbuild {\n  sources = [\"null.x\"]\n  provisioner \
                        \"shell-local\" {\n    inline = [\"true\"]\n  }\n}\n";
        let answer = api.post(&token, PATH, HCL, template).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["valid"]), (200, &json!(true)), "{}", answer.text());
        let diagnostic = &answer.json()["diagnostics"][0];
        let place = &diagnostic["range"]["start"]["line"];
        assert_eq!((&diagnostic["severity"], place), (&json!("warning"), &json!(6)), "{diagnostic}");

        let run = api.post(&token, "/v1/runs", HCL, template).await;
        assert_eq!(run.problem(422), "policy-violation");
        assert!(run.text().contains("[policy] shell_local = true"), "{}", run.text());
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_request_is_a_problem() {
        let (api, token) = builder().await;
        let post = async |query: &str| api.post(&token, &format!("{PATH}?var.base=x&{query}"), HCL, TEMPLATE).await;
        assert_eq!(post("account=nowhere").await.problem(422), "account-unknown");
        assert_eq!(post("syntax_only=perhaps").await.problem(400), "query-invalid");
        assert_eq!(post("syntax_onyl=true").await.problem(400), "query-invalid");
        assert_eq!(api.post_json(&token, PATH, &json!({"template": "gone"})).await.problem(404), "template-not-found");
        assert_eq!(api.post(&token, PATH, "text/plain", TEMPLATE).await.problem(415), "media-type-unsupported");
        let viewer = api.token(Role::Viewer, None).await;
        assert_eq!(api.post(&viewer, PATH, HCL, TEMPLATE).await.status, 403);
    }
}
