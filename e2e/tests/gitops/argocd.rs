//! The health scripts for Argo CD, run as Argo CD runs them, against the cases beside them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;
use trellis_e2e::{paths, pipe, tools};

/// What a script says about an object.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) status: String,
    pub(crate) message: String,
}

/// The file `health_test.yaml` in the layout of Argo CD's own `resource_customizations`.
#[derive(Deserialize)]
struct Cases {
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    health_status: Health,
    input_path: String,
}

fn folder(kind: &str) -> PathBuf {
    paths::source().join("examples/argocd/trellis3d.dev").join(kind)
}

/// What the script for `kind` says about each of the JSON objects.
pub(crate) fn health(kind: &str, objects: &str) -> Result<Vec<Health>> {
    let said = pipe(Command::new(tools::path("lua")?).arg(folder(kind).join("health.lua")), objects)?;
    said.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

#[test]
fn the_health_scripts_say_what_their_cases_ask_for() -> Result<()> {
    for kind in ["GenerationJob", "WorkerPool"] {
        let folder = folder(kind);
        let cases: Cases = serde_yaml::from_str(&std::fs::read_to_string(folder.join("health_test.yaml"))?)?;
        for Case { health_status, input_path } in cases.tests {
            let object: Value = serde_yaml::from_str(&std::fs::read_to_string(folder.join(&input_path))?)?;
            assert_eq!(health(kind, &object.to_string())?, [health_status], "{kind}/{input_path}");
        }
    }
    Ok(())
}
