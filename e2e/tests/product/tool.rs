//! The command-line tool as the measure of what the service makes.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use tokio::sync::OnceCell;
use trellis_e2e::paths;
use trellis_e2e::photo::photo_file;

/// The GLB that the tool makes of the example as it is in git: balanced, seed 1.
pub(crate) async fn example_asset() -> Result<&'static [u8]> {
    static ASSET: OnceCell<Vec<u8>> = OnceCell::const_new();
    let make = async || {
        let photo = photo_file();
        let arguments =
            [OsStr::new("generate"), photo.as_os_str(), "--quality".as_ref(), "balanced".as_ref()];
        run(&trellis_fixtures::image_model(), &arguments).await
    };
    Ok(ASSET.get_or_try_init(make).await?)
}

/// The GLB that the tool makes with the model in a folder and seed 1. One thread computes it, so that what workers make with as many as
/// they have must not depend on their number.
pub(crate) async fn run(model: &Path, arguments: &[&OsStr]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("asset.glb");
    let tool = paths::target().join("release/trellis");
    let output = Command::new(&tool)
        .args(arguments)
        .arg("--model")
        .arg(model)
        .args(["--seed", "1", "--device", "cpu", "--output"])
        .arg(&file)
        .envs(["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"].map(|name| (name, "1")))
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("cannot run {}", tool.display()))?;
    ensure!(output.status.success(), "trellis failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(std::fs::read(file)?)
}
