//! The OpenAPI document: collected from the routes, so that neither can be without the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;
use serde_json::json;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi};

use crate::app::App;
use crate::problem::{Code, FieldError, MEDIA_TYPE, Problem};
use crate::routes;

/// What the document says beside the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "TRELLIS",
        description = "Turns an image or a description into a textured 3D asset. A request makes a job; the job's status says how far it is; its result is a file.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        contact(),
    ),
    tags(
        (name = "generate", description = "Ask for an asset"),
        (name = "jobs", description = "Follow a job and fetch what it made"),
        (name = "webhooks", description = "Be told what becomes of a job"),
        (name = "service", description = "The service itself"),
    ),
    servers((url = "/", description = "The server that serves this document")),
    components(schemas(Problem, Code, FieldError)),
    modifiers(&Keys),
)]
pub(crate) struct Document;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
        components.add_security_scheme("api_key", header);
    }
}

/// The OpenAPI document of every route, in JSON, as `/openapi.json` answers it.
#[must_use]
pub fn document() -> String {
    let mut document = routes::api().into_openapi();
    complete(&mut document);
    text(&document)
}

fn text(document: &utoipa::openapi::OpenApi) -> String {
    serde_json::to_string_pretty(document).expect("an OpenAPI document has string keys only")
}

/// Adds what every route that asks for a key may answer: that the key may not do this, or not now.
fn complete(document: &mut utoipa::openapi::OpenApi) {
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        let responses = &mut operation.responses.responses;
        if responses.contains_key("401") {
            responses.extend(Problems::<403>::responses());
            responses.extend(Problems::<429>::responses());
        }
    }
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.head, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete]
        .into_iter()
        .flatten()
}

/// Serves `document` at `/openapi.json`.
pub(crate) fn route(mut document: utoipa::openapi::OpenApi) -> Router<App> {
    complete(&mut document);
    let text: Arc<str> = text(&document).into();
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "public, max-age=300")];
    Router::new().route("/openapi.json", get(async move || (headers, text.to_string())))
}

/// For `responses(…)` of a route: the problems of one status, with every code that it may carry as an example.
pub(crate) struct Problems<const STATUS: u16>;

impl<const STATUS: u16> IntoResponses for Problems<STATUS> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        BTreeMap::from([(STATUS.to_string(), RefOr::T(problems(STATUS)))])
    }
}

fn problems(status: u16) -> Response {
    let codes = Code::ALL.iter().filter(|code| code.status().as_u16() == status);
    let titles: Vec<_> = codes.clone().map(|code| code.title()).collect();
    let examples = codes.map(|code| {
        let problem = json!({
            "type": format!("urn:trellis3d:problem:{}", code.as_str()),
            "title": code.title(),
            "status": status,
            "code": code.as_str(),
            "detail": "What happened this time, and what to do.",
        });
        (code.as_str(), ExampleBuilder::new().summary(code.title()).value(Some(problem)).build())
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .examples_from_iter(examples)
        .build();
    let response = ResponseBuilder::new().description(titles.join("; ")).content(MEDIA_TYPE, content);
    let header = |kind, text: &str| {
        HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(kind)))
            .description(Some(text))
            .build()
    };
    match status {
        416 => response.header("Content-Range", header(Type::String, "`bytes */` and the size of the file")),
        401 => response.header("WWW-Authenticate", header(Type::String, "How to authenticate")),
        429 => response
            .header("Retry-After", header(Type::Integer, "Seconds until a new attempt makes sense"))
            .header("RateLimit-Policy", header(Type::String, "The rate that is allowed"))
            .header("RateLimit", header(Type::String, "What is left of it")),
        503 => {
            response.header("Retry-After", header(Type::Integer, "Seconds until a new attempt makes sense"))
        }
        _ => response,
    }
    .build()
}
