//! `GET /v1/runs/{id}/why`.

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::run_id;
use crate::api::ApiState;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::domain::dedupe::{Compared, Explanation, MadeAnyway, Origin, explain_made};
use crate::store::dedupe::{JoinRow, WhyRow};

/// Why a run was made, and who else got it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Why {
    pub run: Uuid,
    /// What the request that made it asked: `never`, `join` or `reuse`; null: nothing.
    #[schema(required)]
    pub dedupe: Option<&'static str>,
    /// Always `made`: a request that got another run made none.
    pub outcome: &'static str,
    /// In words.
    pub reason: String,
    /// The run that it was compared with: the nearest one that did not do, else the one before it.
    #[schema(required)]
    pub compared_with: Option<ComparedRun>,
    /// The newest hundred requests that got this run after it was made, newest first.
    pub joined: Vec<Joined>,
}

/// Another run, and what is not the same there.
#[derive(Debug, Serialize, ToSchema)]
pub struct ComparedRun {
    pub run: Uuid,
    /// As it was when they were compared.
    pub state: &'static str,
    /// Empty: nothing that is recorded, or they can't be compared.
    pub differs: Vec<DifferentPart>,
}

/// One thing that is not the same.
#[derive(Debug, Serialize, ToSchema)]
pub struct DifferentPart {
    /// `template`, `ingot`, `account`, `family`, `git_sha`, `clean_image`, `variable:NAME`, `build:NAME`,
    /// `build:NAME:OPTION` or `source_ami:BUILD`.
    pub part: String,
    /// The same for people.
    pub words: String,
}

/// A request that got a run which was there already.
#[derive(Debug, Serialize, ToSchema)]
pub struct Joined {
    pub at: DateTime<Utc>,
    pub principal: String,
    /// What it asked: `join` or `reuse`.
    pub mode: String,
    /// What it got: `joined` (in progress) or `reused` (over).
    pub outcome: String,
    pub reason: String,
}

/// Explain a run
///
/// Says in words why it was made anew although there were others, what is not the same in the nearest of them, and which
/// requests have joined it since.
#[utoipa::path(
    get,
    path = "/v1/runs/{id}/why",
    tag = "runs",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "The explanation", body = Why),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn explain_run(State(state): State<ApiState>, _: Viewer, Path(id): Path<String>) -> ApiResult<Json<Why>> {
    Ok(Json(Why::of(state.store.why(run_id(&id)?).await?)))
}

impl Why {
    fn of(row: WhyRow) -> Self {
        let asked = row.run.dedupe.as_ref().map(|explanation| explanation.mode.as_str());
        // A request that looked at other runs was explained when it did.
        let looked = row.run.dedupe.as_ref().filter(|explanation| explanation.mode.looks_at_others()).cloned();
        let explanation = looked.unwrap_or_else(|| afterwards(&row));
        Self {
            run: row.run.id.0,
            dedupe: asked,
            outcome: explanation.outcome.as_str(),
            reason: explanation.reason,
            compared_with: explanation.compared_with.map(ComparedRun::of),
            joined: row.joins.into_iter().map(Joined::of).collect(),
        }
    }
}

/// Explains a run that was made without looking at others.
fn afterwards(row: &WhyRow) -> Explanation {
    let origin = match (&row.schedule, &row.run.dedupe) {
        (Some(name), _) => Origin::Schedule { name, slot: row.run.slot },
        (None, asked) => Origin::Request { left_out: asked.is_none() },
    };
    let made = MadeAnyway {
        origin,
        content: row.own.content.as_ref(),
        sources: &row.own.sources,
        variables: &row.own.variables,
    };
    explain_made(&made, row.before.as_ref())
}

impl ComparedRun {
    fn of(compared: Compared) -> Self {
        let differs = compared.differs.into_iter();
        Self {
            run: compared.run.0,
            state: compared.state.as_str(),
            differs: differs.map(|one| DifferentPart { part: one.part, words: one.words }).collect(),
        }
    }
}

impl Joined {
    fn of(join: JoinRow) -> Self {
        let JoinRow { at, principal, mode, outcome, reason } = join;
        Self { at, principal, mode, outcome, reason }
    }
}
