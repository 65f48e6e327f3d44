//! What GitOps tools make of jobs and pools: the tools' own code, and the statuses that the operator writes.

mod argocd;
#[expect(dead_code, reason = "the tests of the operator need more of it")]
#[path = "../operator/fixture.rs"]
mod fixture;
mod flux;
mod gallery;
mod states;
#[expect(dead_code, reason = "the tests of the operator need more of it")]
#[path = "../operator/workers.rs"]
mod workers;
