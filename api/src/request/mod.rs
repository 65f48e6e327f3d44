//! What clients ask for: the bodies of `POST /api/v1/generate/…`, as types, and what reads them.

mod body;
mod conditional;
mod error;
mod form;
mod generate;
mod idempotency;
mod object;
mod options;
mod place;
mod prefer;
mod query;
mod range;

pub(crate) use body::{Limits, pointer, read};
pub(crate) use conditional::Known;
pub(crate) use error::RequestError;
pub(crate) use form::{ImageForm, VariantForm};
pub(crate) use generate::{
    Body, File, FileSource, Generate, ImageTo3d, Input, MultiImageMode, TextTo3d, Variant,
};
pub(crate) use idempotency::IdempotencyKey;
pub(crate) use options::{
    Deadlines, Format, Mesh, Options, Quality, Sampling, Stage, Webhook, WebhookEvent, WhenFailing,
};
#[cfg(test)]
pub(crate) use place::PLACES;
pub(crate) use place::Places;
pub(crate) use prefer::Prefer;
pub(crate) use query::Query;
pub(crate) use range::{Unsatisfiable, wanted_range};

#[cfg(test)]
mod tests;
