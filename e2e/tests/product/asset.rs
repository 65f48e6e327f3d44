//! From `kubectl apply` to the asset.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use image::ImageFormat;
use sha2::{Digest as _, Sha256};
use trellis_crds::{GenerationJobStatus, OutputFile};
use trellis_e2e::installation::Installation;
use trellis_e2e::{Namespace, cluster, in_namespace, paths};
use trellis_storage::Storage;

use crate::site::{completed, room};
use crate::tool::example_asset;

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_photo_becomes_the_asset_that_the_command_line_tool_makes() -> Result<()> {
    let _room = room(1).await?;
    in_namespace(&cluster::client().await?, "asset", async |namespace| {
        let installation = Installation::existing()?;
        apply_example(&installation, namespace)?;
        let status = completed(namespace, "photo").await?;
        let (storage, _port) = installation.storage().await?;

        let glb = fetch(&storage, output(&status, "glb")?).await?;
        has_triangles(&glb)?;
        ensure!(glb == example_asset().await?, "the worker's GLB is not the tool's");
        let preview = fetch(&storage, output(&status, "png")?).await?;
        image::load_from_memory_with_format(&preview, ImageFormat::Png).context("preview.png")?;
        let manifest = fetch(&storage, output(&status, "json")?).await?;
        lists_the_files(&manifest, &status)
    })
    .await
}

fn apply_example(installation: &Installation, namespace: &Namespace) -> Result<()> {
    let mut kubectl: Command = installation.kubectl()?;
    kubectl.args(["--namespace", namespace.name(), "apply", "--kustomize"]);
    let output = kubectl.arg(paths::source().join("examples/photo")).output()?;
    ensure!(output.status.success(), "kubectl apply: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

pub(crate) fn output<'a>(status: &'a GenerationJobStatus, format: &str) -> Result<&'a OutputFile> {
    let found = status.outputs.iter().find(|output| output.format == format);
    found.with_context(|| format!("no {format} among {:?}", status.outputs))
}

/// Reads a file and checks that it is the one that the status lists.
pub(crate) async fn fetch(storage: &Storage, output: &OutputFile) -> Result<Vec<u8>> {
    let content = storage.get(&output.uri.parse()?, u64::MAX).await?;
    ensure!(i64::try_from(content.len())? == output.bytes, "{output:?} has {} bytes", content.len());
    ensure!(hex::encode(Sha256::digest(&content)) == output.sha256, "{output:?} has another sha256");
    Ok(content.to_vec())
}

fn has_triangles(glb: &[u8]) -> Result<()> {
    let (document, buffers, _) = gltf::import_slice(glb).context("the GLB does not parse")?;
    let primitives = document.meshes().flat_map(|mesh| mesh.primitives());
    let mut triangles = 0;
    for primitive in primitives {
        let reader = primitive.reader(|buffer| buffers.get(buffer.index()).map(|data| data.0.as_slice()));
        let vertices = reader.read_positions().context("a mesh without positions")?.count();
        let indices: Vec<_> = reader.read_indices().context("a mesh without indices")?.into_u32().collect();
        ensure!(indices.iter().all(|&index| (index as usize) < vertices), "an index without its vertex");
        triangles += indices.len() / 3;
    }
    ensure!(triangles > 0, "the GLB has no triangle");
    Ok(())
}

/// The manifest is the job as it was when its files were there; it cannot list itself.
fn lists_the_files(manifest: &[u8], status: &GenerationJobStatus) -> Result<()> {
    let manifest: trellis_crds::GenerationJob = serde_json::from_slice(manifest).context("manifest.json")?;
    let listed = manifest.status.unwrap_or_default().outputs;
    let others: Vec<_> = status.outputs.iter().filter(|output| output.format != "json").cloned().collect();
    ensure!(listed == others, "the manifest lists {listed:?}, the status {others:?}");
    Ok(())
}
