//! The chart `trellis`, rendered and applied as a person would.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{output, pipe};
use crate::{paths, tools};

/// The values that have no default.
const LEAST: [&str; 3] =
    ["storage.outputUri=gs://b/o", "storage.inputUri=gs://b/i", "pools.image.modelUri=gs://b/models/tiny"];

/// The chart as `helm template` renders it for the release and namespace of one name, with the arguments `more`.
///
/// # Errors
/// Fails when helm cannot be built, or refuses the chart or the values.
pub fn render(release: &str, more: &[&str]) -> Result<String> {
    let mut helm = Command::new(tools::path("helm")?);
    helm.args(["template", release])
        .arg(paths::source().join("charts/trellis"))
        .args(["--namespace", release]);
    for value in LEAST {
        helm.args(["--set", value]);
    }
    output(helm.args(more)).context("helm refused the chart")
}

/// Applies manifests with the arguments `more`: unknown fields are errors.
///
/// # Errors
/// Fails when kubectl cannot be built, or the API server refuses a manifest.
pub fn apply(kubeconfig: &Path, manifests: &str, more: &[&str]) -> Result<()> {
    let mut kubectl = Command::new(tools::path("kubectl")?);
    kubectl.arg("--kubeconfig").arg(kubeconfig);
    kubectl.args(["apply", "--server-side", "--validate=strict", "--filename=-"]).args(more);
    pipe(&mut kubectl, manifests).map(drop).context("the API server refused a manifest")
}
