//! `POST /v1/templates`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::Template;
use crate::api::body::{self, Form, json, unpack};
use crate::api::idempotency::Key;
use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Problem};
use crate::api::query::Query;
use crate::api::{ApiState, Limits};
use crate::domain::bundle::Bundle;
use crate::domain::error::{Error, Result};
use crate::engine::accept::{check_name, outline, policy};
use crate::store::idempotency::SavedAnswer;

/// A template to be stored.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateRequest {
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    /// The account its runs use when they name none.
    #[serde(default)]
    pub account: Option<String>,
    /// Text by path.
    pub files: BTreeMap<String, String>,
}

struct NewTemplate {
    name: String,
    description: Option<String>,
    account: Option<String>,
    bundle: Bundle,
}

impl NewTemplate {
    fn read(form: Form, mut query: Query, limits: &Limits) -> Result<Self> {
        match form {
            Form::Json(bytes) => {
                query.finish()?;
                let request: TemplateRequest = json::parse(&bytes)?;
                let bundle = unpack::check_files(request.files, limits)?;
                Ok(Self { name: request.name, description: request.description, account: request.account, bundle })
            }
            Form::Described { .. } => Err(Error::bad_request(
                "request-invalid",
                "A template takes no \"request\" part; use ?name=… in the URL.",
            )),
            Form::Bundle(bundle) => {
                let name = query.one("name")?.ok_or_else(|| {
                    Error::bad_request("request-invalid", "The template needs a name: add ?name=… to the URL.")
                })?;
                let (description, account) = (query.one("description")?, query.one("account")?);
                query.finish()?;
                Ok(Self { name, description, account, bundle })
            }
        }
    }
}

/// What the path of a template begins with.
const LOCATION: &str = "/v1/templates/";

/// Store a template
///
/// Each change makes a new version; the same content as the newest version makes none. The template is parsed, and
/// evaluated only when it is run, because it may need variables.
#[utoipa::path(
    post,
    path = "/v1/templates",
    tag = "templates",
    params(
        ("name" = Option<String>, Query, description = "Raw forms: the template's name (needed)"),
        ("description" = Option<String>, Query, description = "Raw forms: what it is for"),
        ("account" = Option<String>, Query, description = "Raw forms: the account its runs use when they name none"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same request under the same key is done once, for 24 hours"),
    ),
    request_body(
        description = "The template",
        content(
            (TemplateRequest = "application/json"),
            (String = "application/hcl"),
            (String = "application/vnd.packer.template+json"),
            (String = "application/gzip"),
            (String = "multipart/form-data"),
        )
    ),
    responses(
        (status = 200, description = "The content is that of the newest version", body = Template),
        (status = 201, description = "A new version", body = Template),
        (status = 413, description = "Larger than this server takes", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "A form this does not take", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The template is wrong; `errors` has the places", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create_template(
    State(state): State<ApiState>,
    Builder(caller): Builder,
    query: Query,
    request: Request,
) -> ApiResult<Response> {
    let headers = request.headers().clone();
    let uri = request.uri().clone();
    let form = body::read(request, &state.limits).await?;
    let identity = form.identity();
    let key =
        Key::of(&headers, &[b"POST", uri.path().as_bytes(), uri.query().unwrap_or_default().as_bytes(), &identity])?;
    let work = async {
        let new = NewTemplate::read(form, query, &state.limits)?;
        check_name("name", &new.name)?;
        if let Some(account) = &new.account {
            policy(&state.accept, account)?;
        }
        let outline = outline(new.bundle.clone()).await?;
        let (description, account) = (new.description.as_deref(), new.account.as_deref());
        let (version, created) =
            state.store.put_template(&new.name, description, account, &new.bundle, &outline, &caller.actor()).await?;
        let row = state.store.template(&new.name).await?;
        let template = Template::of(row).with_version(version);
        let status = if created { StatusCode::CREATED } else { StatusCode::OK };
        if let Some(key) = &key {
            // Storing the same content twice is the same as once, so the one that comes second here has done no harm.
            let response = serde_json::to_value(&template).map_err(|error| Error::internal(error.to_string()))?;
            let answer = SavedAnswer { request_sha256: key.request_sha256, status: status.as_u16(), response };
            state.store.save_idempotent_answer(&caller.principal.name, &key.key, &answer).await?;
        }
        let location = HeaderValue::from_str(&format!("{LOCATION}{}", template.name));
        let location = location.map_err(|error| Error::internal(error.to_string()))?;
        Ok((status, [(header::LOCATION, location)], Json(template)).into_response())
    };
    Ok(Key::once(key.as_ref(), &state, &caller, (LOCATION, "name"), work).await?)
}
