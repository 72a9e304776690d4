//! The OpenAPI 3.1 document, made from the endpoints themselves.

use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;

use super::log_response::{LogEvent, StateEvent};
use super::problem::Problem;
use super::{ApiState, v1};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ingot",
        description = "Turns Packer templates into golden machine images and keeps the book on them. Errors are RFC 9457 problem documents.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Problem, LogEvent, StateEvent)),
    tags(
        (name = "runs", description = "Requests to build one template version"),
        (name = "builds", description = "The sources of a run"),
        (name = "templates", description = "Templates and their immutable versions"),
        (name = "images", description = "What runs made"),
        (name = "stages", description = "What each environment may run, and the moves of images through them"),
        (name = "schedules", description = "What starts runs at given times"),
        (name = "tokens", description = "Bearer tokens"),
        (name = "audit", description = "Who did what"),
        (name = "janitor", description = "What should not be there any more, and its removal"),
        (name = "server", description = "The server itself"),
    )
)]
struct Document;

const SCHEME: &str = "token";

/// Problems that every endpoint may answer with.
const COMMON: &[(&str, &str)] = &[
    ("400", "The request is malformed"),
    ("401", "The token is missing, unknown, expired or revoked"),
    ("403", "The token's role does not reach"),
    ("500", "A fault of the server; only its log tells more"),
    ("503", "Something that the server needs is away; `Retry-After` says when to try again"),
];

/// The router for the document's head, to which the endpoints add themselves.
pub(super) fn documented() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Document::openapi())
}

/// The whole document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, mut document) = documented().merge(v1::routes()).merge(v1::streaming_routes()).split_for_parts();
    let paths = std::mem::take(&mut document.paths.paths);
    // A wildcard is the router's word; in the document it is a parameter like others.
    document.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.patch];
        operations.into_iter().flatten().for_each(complete);
    }
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token: `ingot_…`"));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(SCHEME, SecurityScheme::Http(bearer.build()));
    document.security = Some(vec![SecurityRequirement::new(SCHEME, Vec::<String>::new())]);
    document
}

/// The document as it is committed and served.
#[must_use]
pub fn openapi_yaml() -> String {
    // The document is made of strings, lists and maps, which YAML can always say.
    openapi().to_yaml().unwrap_or_default()
}

fn complete(operation: &mut Operation) {
    for (status, description) in COMMON {
        operation.responses.responses.entry((*status).to_owned()).or_insert_with(|| RefOr::T(problem(description)));
    }
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `INGOT_UPDATE_OPENAPI=1` writes the file instead.
    #[test]
    fn the_committed_document_is_that_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml");
        let made = openapi_yaml();
        if std::env::var_os("INGOT_UPDATE_OPENAPI").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == made, "openapi.yaml is not what the code says; run this test with INGOT_UPDATE_OPENAPI=1");
    }

    #[test]
    fn every_operation_has_its_problems_and_a_name() {
        let document = openapi();
        let operations: Vec<&Operation> =
            document.paths.paths.values().flat_map(|item| [&item.get, &item.post, &item.delete]).flatten().collect();
        assert!(operations.len() >= 25, "{}", operations.len());
        for operation in &operations {
            assert!(operation.responses.responses.contains_key("401"), "{:?}", operation.operation_id);
            assert!(operation.summary.is_some(), "{:?}", operation.operation_id);
        }
        let mut names: Vec<_> = operations.iter().filter_map(|operation| operation.operation_id.clone()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), operations.len());
    }
}
