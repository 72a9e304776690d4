//! The one error type that leaves the domain, the store and the engine on its way to a caller. It knows nothing of HTTP:
//! `api/problem.rs` maps [`ErrorKind`] to a status. `public` is what a client may read; the internal text is kept apart
//! and has no `Display`, so that it can't be sent by mistake.

use std::fmt;

use super::diagnostic::Diagnostic;

/// What sort of fault it is, as a caller needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is malformed.
    BadRequest,
    /// The request is well-formed, and what it asks for is wrong (a template with errors, an unknown variable).
    Unprocessable,
    Unauthenticated,
    Forbidden,
    NotFound,
    /// The present state does not allow it.
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    TooManyRequests,
    /// Something that Ingot needs is away; try again later.
    Unavailable,
    Internal,
}

/// Text for logs only.
pub struct InternalText(String);

impl InternalText {
    /// The text, for the access log.
    #[must_use]
    pub fn for_log(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InternalText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InternalText(…)")
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Error {
    pub kind: ErrorKind,
    /// Stable and machine-readable, kebab-case: `template-invalid`, `run-not-found`.
    pub code: &'static str,
    /// One or two sentences for the client: what is wrong and what to do.
    pub public: String,
    /// Single complaints, with their place.
    pub diagnostics: Vec<Diagnostic>,
    pub internal: Option<InternalText>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: ErrorKind, code: &'static str, public: impl Into<String>) -> Self {
        Self { kind, code, public: public.into(), diagnostics: Vec::new(), internal: None }
    }

    pub fn bad_request(code: &'static str, public: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadRequest, code, public)
    }

    pub fn unprocessable(code: &'static str, public: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unprocessable, code, public)
    }

    pub fn not_found(code: &'static str, public: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, code, public)
    }

    pub fn conflict(code: &'static str, public: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, code, public)
    }

    /// A fault of ours. The client learns only that it happened.
    pub fn internal(internal: impl Into<String>) -> Self {
        Self::new(
            ErrorKind::Internal,
            "internal",
            "Something went wrong on the server; its log has the details under this request id.",
        )
        .with_internal(internal)
    }

    /// The database is away or too slow.
    pub fn database_unavailable(internal: impl Into<String>) -> Self {
        Self::new(
            ErrorKind::Unavailable,
            "database-unavailable",
            "The database can't be reached at the moment; try again in a few seconds.",
        )
        .with_internal(internal)
    }

    #[must_use]
    pub fn with_diagnostics(mut self, diagnostics: Vec<Diagnostic>) -> Self {
        self.diagnostics = diagnostics;
        self
    }

    #[must_use]
    pub fn with_internal(mut self, internal: impl Into<String>) -> Self {
        self.internal = Some(InternalText(internal.into()));
        self
    }

    /// Everything, for a log line.
    #[must_use]
    pub fn for_log(&self) -> String {
        match &self.internal {
            Some(internal) => format!("{}: {} ({})", self.code, self.public, internal.for_log()),
            None => format!("{}: {}", self.code, self.public),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public)
    }
}

impl std::error::Error for Error {}
