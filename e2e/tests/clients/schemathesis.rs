//! Requests of every kind, made from the document, and every answer checked against it.

use std::process::Command;

use anyhow::{Result, ensure};
use trellis_e2e::processes::{Service, ServiceSettings};
use trellis_e2e::{ApiServer, paths};

/// Requests of each kind to each operation, in `make test` and in `make security`.
const FEW: u32 = 10;
const MANY: u32 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_as_the_document_says() -> Result<()> {
    schemathesis(FEW).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make security"]
async fn every_answer_to_many_requests_is_as_the_document_says() -> Result<()> {
    schemathesis(MANY).await
}

async fn schemathesis(examples: u32) -> Result<()> {
    let server = ApiServer::shared().await?;
    let service = Service::start(server, "schemathesis", &ServiceSettings::default()).await?;
    let mut command = Command::new(paths::source().join("scripts/schemathesis.sh"));
    command.args([&service.rest.url(), service.rest.key("alice")]);
    command.args(["--max-examples", &examples.to_string()]);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    service.namespace.delete().await
}
