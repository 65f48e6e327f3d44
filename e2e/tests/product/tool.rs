//! The command-line tool as the measure of what the service makes.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use tokio::sync::OnceCell;
use trellis_e2e::paths;
use trellis_e2e::photo::photo_file;

/// The GLB that the tool makes of the example as it is in git: balanced, seed 1. One thread computes it, so that what workers make
/// with as many as they have must not depend on their number.
pub(crate) async fn example_asset() -> Result<&'static [u8]> {
    static ASSET: OnceCell<Vec<u8>> = OnceCell::const_new();
    Ok(ASSET.get_or_try_init(|| generate("balanced", 1)).await?)
}

async fn generate(quality: &str, seed: u32) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("asset.glb");
    let tool = paths::target().join("release/trellis");
    let output = Command::new(&tool)
        .arg("generate")
        .arg(photo_file())
        .arg("--model")
        .arg(paths::small_model())
        .args(["--quality", quality, "--seed", &seed.to_string(), "--device", "cpu", "--output"])
        .arg(&file)
        .envs(["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"].map(|name| (name, "1")))
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("cannot run {}", tool.display()))?;
    ensure!(output.status.success(), "trellis failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(std::fs::read(file)?)
}
