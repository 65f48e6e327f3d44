//! The REST API as somebody meets it who means harm, or only errs: from outside, as a process in front of a real API server.
//!
//! What takes minutes is left to `make security`, which runs all of it.

#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect is to end there")]

mod bodies;
mod document;
mod fixture;
mod headers;
mod injection;
mod jwt;
mod logs;
mod matrix;
mod parsing;
mod ssrf;
mod timing;
