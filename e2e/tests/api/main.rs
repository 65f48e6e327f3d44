//! The REST API in front of a real API server, with files in a temporary folder as its storage.

#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect is to end there")]

mod buckets;
mod cleanup;
mod connections;
mod follow;
mod generate;
mod jobs;
mod limits;
mod list;
mod operation;
mod orders;
mod page;
mod replicas;
mod results;
mod rules;
mod scopes;
mod service;
mod tokens;
mod webhooks;
