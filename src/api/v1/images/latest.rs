//! `GET /v1/images/latest`: which AMI is approved?

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::view::{ImageCopy, SourceImage, Stob};
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::query::Query;
use crate::api::{ApiState, etag};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::error::{Error, Result};
use crate::store::approved::Miss;
use crate::store::approved::index::{ApprovedQuery, Found};
use crate::template::source::did_you_mean;

/// The approved AMI.
#[derive(Debug, Serialize, ToSchema)]
pub struct Latest {
    pub ami_id: String,
    pub region: String,
    pub account: String,
    /// `x86_64` or `arm64`.
    pub arch: String,
    /// `linux` or `windows`.
    pub platform: String,
    pub stage: String,
    /// Of the stage, for the image's family.
    pub generation: i64,
    /// When the stage got it.
    pub since: DateTime<Utc>,
    pub image: LatestImage,
    /// All of its AMIs that match, the build's own region first; `ami_id` is the first.
    pub copies: Vec<ImageCopy>,
}

/// The image of an approved AMI. Only what never changes, so that the answer keeps its `ETag` while the stage holds it.
#[derive(Debug, Serialize, ToSchema)]
pub struct LatestImage {
    pub id: Uuid,
    pub family: String,
    pub number: i64,
    pub state: &'static str,
    pub stob: Stob,
    #[schema(required)]
    pub source_image: Option<SourceImage>,
    /// Of the AMI.
    #[schema(value_type = Object)]
    pub tags: IndexMap<String, String>,
    pub run_id: Uuid,
    pub created_at: DateTime<Utc>,
}

impl Latest {
    /// Whoever looks an image up finds at least one copy.
    fn of(found: Found) -> Option<Self> {
        let Found { entry, copies } = found;
        let first = copies.first()?.clone();
        let image = &entry.image;
        Some(Self {
            ami_id: first.ami_id,
            region: first.region,
            account: first.account,
            arch: first.arch,
            platform: first.platform,
            stage: entry.stage.clone(),
            generation: entry.generation,
            since: entry.since,
            image: LatestImage {
                id: image.id.0,
                family: image.family.clone(),
                number: image.number,
                state: image.state.as_str(),
                stob: Stob::of(image.stob.clone()),
                source_image: image.source_image.clone().map(SourceImage::of),
                tags: first.tags,
                run_id: image.run_id.0,
                created_at: image.created_at,
            },
            copies: copies.into_iter().map(ImageCopy::of).collect(),
        })
    }
}

/// Find the approved AMI
///
/// It follows the stage's pointers, never the highest number. Of several families, the one that was promoted last counts.
/// With `Accept: text/plain` the answer is the AMI's id alone.
#[utoipa::path(
    get,
    path = "/v1/images/latest",
    tag = "images",
    params(
        ("family" = Option<String>, Query, description = "One of these families, comma-separated"),
        ("stage" = Option<String>, Query, description = "The stage; the last one when left out"),
        ("region" = Option<String>, Query, description = "An AMI in this region"),
        ("account" = Option<String>, Query, description = "An AMI in this account"),
        ("arch" = Option<String>, Query, description = "An AMI of this architecture: `x86_64` or `arm64`"),
        ("tag.KEY" = Option<String>, Query, description = "With this tag; may be there for several keys"),
    ),
    responses(
        (status = 200, description = "The AMI", content((Latest = "application/json"), (String = "text/plain"))),
        (status = 304, description = "Nothing has changed"),
        (status = 404, description = "Nothing matches; `errors` says which condition had no match, and what came nearest", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such stage", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn latest_image(
    State(state): State<ApiState>,
    _: Viewer,
    headers: HeaderMap,
    mut query: Query,
) -> ApiResult<Response> {
    let wanted = read(&state, &mut query)?;
    query.finish()?;
    let suggest = |name: &str, known: &[&str]| did_you_mean(name, known.iter().copied()).text;
    let found = state.approved.find(&wanted, suggest).await?.map_err(|misses| not_found(&wanted, &misses))?;
    let latest = Latest::of(found).ok_or_else(|| Error::internal("an approved image was found without a copy"))?;
    if !wants_text(&headers) {
        let mut response = etag::respond(&headers, &latest)?;
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        return Ok(response);
    }
    let mut response = etag::respond(&headers, &latest.ami_id)?;
    if response.status().is_success() {
        let tagged = response.headers().clone();
        response = format!("{}\n", latest.ami_id).into_response();
        let kept = [header::ETAG, header::CACHE_CONTROL];
        for name in kept {
            if let Some(value) = tagged.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

fn read(state: &ApiState, query: &mut Query) -> Result<ApprovedQuery> {
    let wanted = query.filled("stage")?.unwrap_or_else(|| state.stage_order.last().to_owned());
    state.stage_order.position(&wanted)?;
    Ok(ApprovedQuery {
        stage: wanted,
        families: query
            .filled("family")?
            .map_or_else(Vec::new, |names| names.split(',').map(|name| name.trim().to_owned()).collect()),
        region: query.filled("region")?,
        account: query.filled("account")?,
        arch: query.filled("arch")?,
        tags: query.prefixed("tag."),
    })
}

/// Whether text is wanted rather than JSON (RFC 9110, section 12.5.1). Without a preference it is JSON.
fn wants_text(headers: &HeaderMap) -> bool {
    quality(headers, "text", "plain") > quality(headers, "application", "json")
}

/// The quality that the Accept headers give a media type, in thousandths: that of the most specific range.
fn quality(headers: &HeaderMap, kind: &str, subtype: &str) -> u32 {
    let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let matching = ranges.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let (range_kind, range_subtype) = parts.next()?.split_once('/')?;
        let specific = match (range_kind, range_subtype) {
            ("*", "*") => 0,
            (range_kind, "*") if range_kind.eq_ignore_ascii_case(kind) => 1,
            (range_kind, range_subtype)
                if range_kind.eq_ignore_ascii_case(kind) && range_subtype.eq_ignore_ascii_case(subtype) =>
            {
                2
            }
            _ => return None,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(Some(1.0), |weight| weight.parse::<f32>().ok()).unwrap_or(0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was clamped to 0 to 1")]
        let thousandths = (weight.clamp(0.0, 1.0) * 1000.0) as u32;
        Some((specific, thousandths))
    });
    matching.max_by_key(|(specific, _)| *specific).map_or(0, |(_, thousandths)| thousandths)
}

fn not_found(query: &ApprovedQuery, misses: &[Miss]) -> Error {
    let line = |miss: &Miss| match miss.condition.as_str() {
        "" => miss.explanation.clone(),
        condition => format!("{condition}: {}", miss.explanation),
    };
    let first = misses.first().map_or_else(String::new, |miss| format!("; {}", line(miss)));
    let end = if first.ends_with('?') { "" } else { "." };
    let public = format!("No approved image in {} matches{first}{end}", query.stage);
    let diagnostics = misses.iter().map(|miss| Diagnostic::error(line(miss))).collect();
    Error::not_found("no-approved-image", public).with_diagnostics(diagnostics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_given_to_whom_wants_it_more() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            wants_text(&headers)
        };
        for text in
            ["text/plain", "TEXT/Plain", "text/*", "text/plain, */*;q=0.1", "application/json;q=0.5, text/plain;q=0.9"]
        {
            assert!(wants(text), "{text}");
        }
        for json in [
            "application/json",
            "*/*",
            "text/plain;q=0",
            "text/plain;q=0.5, application/json;q=0.9",
            "text/html",
            "nonsense",
        ] {
            assert!(!wants(json), "{json}");
        }
        assert!(!wants_text(&HeaderMap::new()));
    }
}
