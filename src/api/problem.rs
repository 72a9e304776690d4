//! The one place where Ingot's errors become HTTP: RFC 9457 problem documents.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::diagnostic::{Diagnostic, Severity};
use crate::domain::error::{Error, ErrorKind};

/// A problem's `type` begins with this; the rest is the error's stable code.
pub const TYPE_PREFIX: &str = "urn:ingot:problem:";
/// Seconds after which a client may try again when something that Ingot needs is away.
const RETRY_AFTER: &str = "5";

/// What went wrong (RFC 9457, `application/problem+json`).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Stable and machine-readable: `urn:ingot:problem:` and a code such as `template-invalid`.
    #[serde(rename = "type")]
    #[schema(example = "urn:ingot:problem:template-invalid")]
    pub kind: String,
    /// The status in words.
    pub title: &'static str,
    pub status: u16,
    /// What is wrong and what to do.
    pub detail: String,
    /// `urn:request:` and the request id, which the server's log has too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Single complaints, with their place in the template.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Complaint>,
}

/// One complaint about a template, or a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Complaint {
    /// One line that is readable alone.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Path in the bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// From 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Where the marked text ends, exclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_column: Option<u32>,
    /// The text of `line`; `<sensitive>` stands for values that are hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
    /// The nearest name that there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// The lint rule that complains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `error`, `warning` or `info`.
    pub severity: &'static str,
}

impl From<&Diagnostic> for Complaint {
    fn from(diagnostic: &Diagnostic) -> Self {
        let at = diagnostic.at.as_ref();
        Self {
            message: diagnostic.summary.clone(),
            detail: Some(diagnostic.detail.clone()).filter(|detail| !detail.is_empty()),
            file: at.map(|at| at.file.clone()),
            line: at.map(|at| at.line),
            column: at.map(|at| at.column),
            end_line: diagnostic.end.map(|end| end.line),
            end_column: diagnostic.end.map(|end| end.column),
            source_line: diagnostic.source_line.clone(),
            suggestion: diagnostic.suggestion.clone(),
            rule: diagnostic.rule.clone(),
            severity: severity(diagnostic.severity),
        }
    }
}

/// As the API spells it.
#[must_use]
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

/// An error on its way out of a handler.
#[derive(Debug)]
pub struct ApiError(pub Error);

pub type ApiResult<T> = Result<T, ApiError>;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// Kept beside the response, so that the access log can tell what the client is not told.
#[derive(Debug, Clone)]
pub struct LoggedError(pub String);

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::BadRequest => StatusCode::BAD_REQUEST,
        ErrorKind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let mut response = document(status(error.kind), error.code, error.public.clone(), &error.diagnostics);
        let challenge = match error.kind {
            ErrorKind::Unauthenticated if error.code == "token-missing" => Some("Bearer realm=\"ingot\""),
            ErrorKind::Unauthenticated => Some("Bearer realm=\"ingot\", error=\"invalid_token\""),
            _ => None,
        };
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::TooManyRequests) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        response.extensions_mut().insert(LoggedError(error.for_log()));
        response
    }
}

/// A problem that no [`Error`] stands behind: wrong path, wrong method, time-out.
pub fn document(status: StatusCode, code: &str, detail: String, diagnostics: &[Diagnostic]) -> Response {
    let problem = Problem {
        kind: format!("{TYPE_PREFIX}{code}"),
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail,
        instance: super::request_id::current(),
        errors: diagnostics.iter().map(Complaint::from).collect(),
    };
    let mut response = (status, Json(problem)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::diagnostic::SourceLocation;

    async fn body(response: Response) -> serde_json::Value {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn a_template_fault_names_its_place() {
        let at = SourceLocation { file: "a.pkr.hcl".into(), line: 3, column: 7 };
        let fault = Diagnostic::error("unknown variable").with_detail("did you mean \"x\"?").at(Some(at));
        let error = Error::unprocessable("template-invalid", "The template has 1 error.").with_diagnostics(vec![fault]);
        let response = ApiError(error).into_response();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        insta::assert_json_snapshot!(body(response).await);
    }

    #[tokio::test]
    async fn a_fault_of_ours_tells_nothing() {
        let response = ApiError(Error::internal("password is hunter2")).into_response();
        assert!(response.extensions().get::<LoggedError>().unwrap().0.contains("hunter2"));
        let body = body(response).await;
        assert!(!body.to_string().contains("hunter2"));
        insta::assert_json_snapshot!(body);
    }

    #[tokio::test]
    async fn what_is_away_may_be_tried_again() {
        let response = ApiError(Error::database_unavailable("no route")).into_response();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::RETRY_AFTER]),
            (503, &HeaderValue::from_static("5"))
        );
    }
}
