//! Where simulated workers store what they seem to make: the same asset for every job, and a record of each.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use kube::ResourceExt as _;
use trellis_crds::{GenerationJob, MANIFEST, OutputFile, extension, media_type};
use trellis_storage::{ObjectUri, Settings, Storage};
use trellis_worker_core::{Product, complete};

/// A folder of assets.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    storage: Storage,
    root: ObjectUri,
    asset: Bytes,
}

impl Shelf {
    /// The folder at the `file://` address `destination`, for assets of `bytes`.
    pub(super) fn at(destination: &str, bytes: usize) -> Result<Self> {
        let root: ObjectUri = destination.parse()?;
        let folder = root.file_path().context("only file:// addresses are stored at")?.to_owned();
        let storage = Storage::new(Settings { emulator_host: None, file_roots: vec![folder] });
        Ok(Self { storage, root, asset: glb(bytes) })
    }

    /// Stores a file for each format that `job` asks for, and the records of it.
    pub(super) async fn store(&self, job: &GenerationJob, mut product: Product) -> Result<Product> {
        for format in &job.spec.output.formats {
            let format = serde_json::to_value(format)?.as_str().unwrap_or_default().to_owned();
            let name = format!("model.{}", extension(&format));
            product.outputs.push(self.put(&product.folder, &name, &format, self.asset.clone()).await?);
        }
        let manifest = record(job, &product)?;
        product.outputs.push(self.put(&product.folder, MANIFEST, "json", manifest).await?);
        let namespace = job.namespace().unwrap_or_default();
        let path = GenerationJob::archive_path(&namespace, &job.name_any()).context("a name of no object")?;
        self.storage.put(&self.root.join(&path)?, record(job, &product)?, media_type("json")).await?;
        Ok(product)
    }

    async fn put(&self, folder: &str, name: &str, format: &str, content: Bytes) -> Result<OutputFile> {
        let uri = folder.parse::<ObjectUri>()?.join(name)?;
        let stored = self.storage.put(&uri, content, media_type(format)).await?;
        Ok(OutputFile {
            format: format.into(),
            uri: uri.to_string(),
            bytes: stored.bytes.try_into()?,
            sha256: stored.sha256,
        })
    }
}

/// The job as it is when it has completed so.
fn record(job: &GenerationJob, product: &Product) -> Result<Bytes> {
    let mut job = job.clone();
    complete(&mut job, product);
    job.metadata.managed_fields = None;
    Ok(serde_json::to_vec_pretty(&job)?.into())
}

/// The smallest binary glTF file, blown up to about `bytes` by spaces.
fn glb(bytes: usize) -> Bytes {
    let mut json = br#"{"asset":{"version":"2.0"}}"#.to_vec();
    // Both lengths are multiples of 4.
    let length = bytes.saturating_sub(20).max(json.len()).next_multiple_of(4);
    json.resize(length, b' ');
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    [&b"glTF"[..], &number(2), &number(length + 20), &number(length), b"JSON", &json].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_a_gltf_file_of_the_size_that_is_asked_for() {
        for bytes in [0, 48, 1000, 100_000] {
            let asset = glb(bytes);
            let parsed = gltf::Gltf::from_slice(&asset).unwrap();
            assert_eq!(parsed.scenes().count(), 0);
            assert!(asset.len() == bytes.max(48), "{bytes}: {}", asset.len());
        }
    }
}
