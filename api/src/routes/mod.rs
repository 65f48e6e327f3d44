//! The routes. Each handler takes what it needs from the request, calls one function, and turns its result into a response.

mod events;
mod generate;
mod health;
mod jobs;
mod orders;
mod result;
mod webhooks;

use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::openapi::Document;

/// Every route of the API, with its documentation.
pub(crate) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(generate::image_to_3d))
        .routes(routes!(generate::text_to_3d))
        .routes(routes!(generate::variant))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::get, jobs::delete))
        .routes(routes!(jobs::status))
        .routes(routes!(events::events))
        .routes(routes!(orders::cancel))
        .routes(routes!(orders::retry))
        .routes(routes!(result::get))
        .routes(routes!(webhooks::redeliver))
        .routes(routes!(webhooks::secret))
        .routes(routes!(health::health))
}
