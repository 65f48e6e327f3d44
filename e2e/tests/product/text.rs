//! From a prompt to an asset, and from its shape and another prompt to a variant of it.

use std::ffi::OsStr;

use anyhow::Result;
use anyhow::ensure;
use trellis_crds::{
    GenerationJob, GenerationJobSpec, Input, OutputFile, Quality, Sampling, Source, TextInput, VariantInput,
};
use trellis_e2e::installation::Installation;
use trellis_e2e::{Namespace, cluster, in_namespace};
use trellis_fixtures::Models;
use trellis_storage::Storage;

use crate::asset::{fetch, output};
use crate::site::{completed, create_anywhere, room};
use crate::tool;

const CHEST: &str = "a wooden treasure chest with iron bands";
const GOLD: &str = "gold";

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_and_a_mesh_become_the_assets_that_the_command_line_tool_makes() -> Result<()> {
    let _room = room(1).await?;
    in_namespace(&cluster::client().await?, "text", async |namespace| {
        let (storage, _port) = Installation::existing()?.storage().await?;
        let models = Models::new()?;

        let text = Input { text: Some(TextInput { prompt: CHEST.into() }), ..Input::default() };
        let (made, chest) = glb_of(namespace, &storage, "chest", text).await?;
        let arguments = ["generate", "--text", CHEST, "--quality", "fast"].map(OsStr::new);
        ensure!(
            chest == tool::run(&models.text(), &arguments).await?,
            "the worker's chest is not the tool's"
        );

        let mesh = Source { uri: Some(made.uri), config_map_key_ref: None };
        let variant = VariantInput { mesh, prompt: GOLD.into() };
        let input = Input { variant: Some(variant), ..Input::default() };
        let (_, gold) = glb_of(namespace, &storage, "gold", input).await?;
        let shape = models.root().join("chest.glb");
        std::fs::write(&shape, chest)?;
        let arguments = ["variant".as_ref(), shape.as_os_str(), "--text".as_ref(), GOLD.as_ref()];
        let arguments: Vec<_> = arguments.into_iter().chain(["--quality", "fast"].map(OsStr::new)).collect();
        ensure!(
            gold == tool::run(&models.text(), &arguments).await?,
            "the worker's variant is not the tool's"
        );
        Ok(())
    })
    .await
}

/// The GLB that a pool for such an input makes, and where it lies.
async fn glb_of(
    namespace: &Namespace,
    storage: &Storage,
    name: &str,
    input: Input,
) -> Result<(OutputFile, Vec<u8>)> {
    let sampling = Sampling { seed: Some(1), ..Sampling::default() };
    let spec = GenerationJobSpec { input, sampling, quality: Quality::Fast, ..GenerationJobSpec::default() };
    create_anywhere(namespace, &GenerationJob::new(name, spec)).await?;
    let status = completed(namespace, name).await?;
    let file = output(&status, "glb")?;
    Ok((file.clone(), fetch(storage, file).await?))
}
