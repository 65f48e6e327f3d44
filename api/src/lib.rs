//! REST facade over GenerationJobs: requests become custom resources, and their status is read back. It keeps no state of its own, so any
//! replica answers any request.

mod app;
mod auth;
mod cleanup;
mod cluster;
mod files;
mod jobs;
mod limits;
mod middleware;
mod openapi;
mod pools;
mod problem;
mod reload;
mod request;
mod routes;
mod rules;
mod serve;
mod settings;
mod ui;
mod webhooks;

pub use auth::keys::{Key, Keys, KeysError};
pub use auth::scopes::{Scope, Scopes};
pub use cleanup::{CleanError, CleanSettings, clean_storage};
pub use openapi::document;
pub use serve::{Listeners, ServeError, TlsError, serve};
pub use settings::Settings;
pub use settings::policy::PolicyError;
pub use webhooks::{MasterSecrets, SecretError, UserSecret, WebhookError, WebhookSettings};
