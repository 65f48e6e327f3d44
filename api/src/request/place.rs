//! How many requests may hold an image at a time.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::problem::{Code, Problem};

/// How many there are. Each request may hold 75 MiB (a body in base64, and what it is decoded into), and a pod has 2 GiB of which
/// the decoder of images may take 700 MiB.
pub(crate) const PLACES: usize = 16;

/// A place among the requests whose bodies are read. Those that find none wait, their bodies unread, until the deadline of all
/// requests. To be asked for after the `Caller`, so that strangers take none.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl FromRequestParts<App> for Place {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, Problem> {
        match app.places.clone().acquire_owned().await {
            Ok(permit) => Ok(Self { _permit: permit }),
            Err(closed) => Err(Problem::new(Code::Internal, closed.to_string())),
        }
    }
}
