//! Objects in the states that matter, shown to the tools' own code.

use std::process::Command;

use anyhow::Result;
use serde::Serialize;
use trellis_e2e::{pipe, tools};

use crate::argocd;

/// Objects of one kind, and what the tools should make of each.
pub(crate) struct Gallery {
    kind: &'static str,
    objects: String,
    expected: Vec<String>,
}

impl Gallery {
    pub(crate) fn new(kind: &'static str) -> Self {
        Self { kind, objects: String::new(), expected: Vec::new() }
    }

    /// Adds an object. `verdict` is that of kstatus, by which Flux and others go
    /// (<https://github.com/kubernetes-sigs/cli-utils/tree/v0.37.2/pkg/kstatus>), and the health that Argo CD shows.
    pub(crate) fn add(&mut self, what: &str, object: &impl Serialize, verdict: [&str; 2]) -> Result<()> {
        self.objects += &serde_json::to_string(object)?;
        let [kstatus, health] = verdict;
        self.expected.push(format!("{what}: {kstatus}, {health}"));
        Ok(())
    }

    /// Compares what is expected with what the tools say.
    pub(crate) async fn judge(self) -> Result<()> {
        tokio::task::spawn_blocking(move || self.compare()).await?
    }

    fn compare(self) -> Result<()> {
        let kstatus = pipe(&mut Command::new(tools::path("kstatus")?), &self.objects)?;
        let kstatus = kstatus.lines().map(|line| line.split('\t').next().unwrap_or_default());
        let health = argocd::health(self.kind, &self.objects)?;
        let names = self.expected.iter().map(|expected| expected.split(':').next().unwrap_or_default());
        let found = names.zip(kstatus).zip(&health);
        let found = found.map(|((name, kstatus), health)| format!("{name}: {kstatus}, {}", health.status));
        assert_eq!(found.collect::<Vec<_>>(), self.expected, "{health:?}");
        Ok(())
    }
}
