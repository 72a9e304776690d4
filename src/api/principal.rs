//! Who is asking, as an argument of a handler: [`Viewer`], [`Builder`], [`Promoter`] and [`Admin`] take the bearer token, and refuse
//! one whose role does not reach.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::ApiState;
use super::access_log::AskedBy;
use super::problem::ApiError;
use super::request_id::RequestId;
use crate::auth::{PlainToken, Principal};
use crate::domain::error::{Error, ErrorKind, Result};
use crate::domain::role::Role;
use crate::store::Actor;

/// Somebody who may read.
pub struct Viewer(pub Caller);
/// Somebody who may change templates and runs.
pub struct Builder(pub Caller);
/// Somebody who may move images through the stages.
pub struct Promoter(pub Caller);
/// Somebody who may do all.
pub struct Admin(pub Caller);

/// The principal with the request's id.
#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Principal,
    request_id: Option<String>,
}

impl Caller {
    /// For the audit.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor { principal: self.principal.name.clone(), request_id: self.request_id.clone() }
    }
}

macro_rules! extractor {
    ($name:ident, $role:expr) => {
        impl FromRequestParts<ApiState> for $name {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> std::result::Result<Self, ApiError> {
                Ok(Self(caller(parts, state, $role).await?))
            }
        }
    };
}
extractor!(Viewer, Role::Viewer);
extractor!(Builder, Role::Builder);
extractor!(Promoter, Role::Promoter);
extractor!(Admin, Role::Admin);

async fn caller(parts: &Parts, state: &ApiState, needed: Role) -> Result<Caller> {
    let token = bearer(parts)?;
    let principal = state.auth.authenticate(&state.store, state.clock.as_ref(), &token).await?;
    if let Some(asked_by) = parts.extensions.get::<AskedBy>() {
        asked_by.set(&principal.name);
    }
    if !principal.role.includes(needed) {
        let public = format!("The token {:?} has the role {}; this needs {needed}.", principal.name, principal.role);
        return Err(Error::new(ErrorKind::Forbidden, "role-too-low", public));
    }
    let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone());
    Ok(Caller { principal, request_id })
}

fn bearer(parts: &Parts) -> Result<PlainToken> {
    let missing = |public: &str| Error::new(ErrorKind::Unauthenticated, "token-missing", public);
    let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
        return Err(missing("A token is missing: send it as `Authorization: Bearer ingot_…`."));
    };
    let wrong = || missing("The Authorization header must be `Bearer` and a token, such as `Bearer ingot_…`.");
    let (scheme, token) = value.to_str().ok().and_then(|text| text.trim().split_once(' ')).ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(wrong());
    }
    Ok(PlainToken::presented(token.trim()))
}
