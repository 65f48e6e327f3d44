//! The container images, built from the Dockerfiles in `images/` by buildah and kept as OCI archives.

mod base;
mod binaries;
mod context;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::command::run;
use crate::paths;
use crate::steps::say;
pub use binaries::build_binaries;
use context::Context;

/// An image and what its Dockerfile finds in the build context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// `images/<name>.Dockerfile`.
    file: &'static str,
    /// The name in the cluster, without tag.
    pub name: &'static str,
    contents: &'static [Content],
}

/// Something in a build context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// A release binary of this workspace.
    Binary(&'static str),
    /// A program built from Go source.
    Tool(&'static str),
    /// A file of the host.
    Host(&'static str),
    /// The libraries in `$LIBTORCH/lib`, as the folder `libtorch`.
    Libtorch,
    /// The library that `$ORT_DYLIB_PATH` names, as `libonnxruntime.so`.
    OnnxRuntime,
}

/// The sandbox of pods.
pub const PAUSE: Image =
    Image { file: "pause", name: "localhost/pause", contents: &[Content::Host("/usr/bin/catatonit")] };
/// The cluster's DNS.
pub const COREDNS: Image =
    Image { file: "coredns", name: "localhost/coredns", contents: &[Content::Tool("coredns")] };
/// The Cloud Storage emulator.
pub const FAKE_GCS_SERVER: Image = Image {
    file: "fake-gcs-server",
    name: "localhost/fake-gcs-server",
    contents: &[Content::Tool("fake-gcs-server")],
};
/// The operator.
pub const OPERATOR: Image = Image {
    file: "operator",
    name: "localhost/trellis-operator",
    contents: &[Content::Binary("trellis-operator")],
};
/// The REST API.
pub const API: Image =
    Image { file: "api", name: "localhost/trellis-api", contents: &[Content::Binary("trellis-api")] };
/// The worker, for CPUs.
pub const WORKER: Image = Image {
    file: "worker",
    name: "localhost/trellis-worker",
    contents: &[
        Content::Binary("trellis-worker"),
        Content::Binary("trellis"),
        Content::Libtorch,
        Content::OnnxRuntime,
    ],
};
/// A shell, for tests of the cluster itself.
pub const PROBE: Image = Image { file: "probe", name: "localhost/probe", contents: &[] };
/// All images that `cluster images` builds; the project's own last.
pub const IMAGES: [Image; 6] = [PAUSE, COREDNS, FAKE_GCS_SERVER, OPERATOR, API, WORKER];

impl Image {
    /// The name with its tag, as a pod names it.
    pub fn reference(&self) -> String {
        format!("{}:dev", self.name)
    }

    /// The release binaries of this workspace that the image holds.
    pub fn binaries(&self) -> impl Iterator<Item = &'static str> {
        self.contents.iter().filter_map(|content| match content {
            Content::Binary(name) => Some(*name),
            _ => None,
        })
    }

    /// The image as an OCI archive, built unless neither its Dockerfile nor anything in its context has changed since the last time.
    /// Binaries of the workspace are taken from the folder `binaries`.
    ///
    /// # Errors
    /// Fails when something that belongs into the image is missing, or when buildah fails; the message says what to do.
    pub fn build(&self, binaries: &Path) -> Result<PathBuf> {
        let dockerfile = paths::source().join("images").join(format!("{}.Dockerfile", self.file));
        let text = fs::read_to_string(&dockerfile)
            .with_context(|| format!("cannot read {}", dockerfile.display()))?;
        let context = Context::gather(self.contents, binaries)?;
        let folder = paths::cache().join("images");
        let archive = folder.join(format!("{}-{}.tar", self.file, context.fingerprint(&text)?));
        if archive.exists() {
            return Ok(archive);
        }
        fs::create_dir_all(&folder)?;
        // Two commands that build images build them one after the other.
        let lock = fs::File::create(folder.join("lock"))?;
        lock.lock()?;
        if !archive.exists() {
            self.build_archive(&dockerfile, &text, &context, &archive)?;
        }
        Ok(archive)
    }

    fn build_archive(&self, dockerfile: &Path, text: &str, context: &Context, archive: &Path) -> Result<()> {
        let start = Instant::now();
        say(format!("Building the image {} ...", self.reference()));
        if text.contains(&format!("FROM {}", base::NAME)) {
            base::provide()?;
        }
        let folder = archive.with_extension("context");
        context.lay(&folder)?;
        let build = ["build", "--quiet", "--layers", "--tag", &self.reference(), "--file"];
        let built = run(buildah().args(build).arg(dockerfile).arg(&folder));
        fs::remove_dir_all(&folder)?;
        built?;
        let partial = archive.with_extension("partial");
        // The fastest that is understood everywhere; buildah has no way to leave it out of an OCI archive.
        let push = ["push", "--quiet", "--compression-format", "zstd", "--compression-level", "1"];
        let target = format!("oci-archive:{}:{}", partial.display(), self.reference());
        run(buildah().args(push).args([&self.reference(), &target]))?;
        remove_older_archives(archive, self.file)?;
        fs::rename(&partial, archive)?;
        let size = fs::metadata(archive)?.len() as f64 / 1e6;
        say(format!("Built {} in {:.0} s: {size:.1} MB", self.reference(), start.elapsed().as_secs_f64()));
        Ok(())
    }
}

fn remove_older_archives(archive: &Path, file: &str) -> Result<()> {
    let folder = archive.parent().unwrap_or(Path::new("."));
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.rsplit_once('-'));
        if stem.is_some_and(|(name, _)| name == file)
            && path.extension().is_some_and(|extension| extension == "tar")
        {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// buildah, with a storage of its own in the cache.
fn buildah() -> Command {
    let storage = paths::cache().join("buildah");
    let mut command = Command::new("buildah");
    command
        .arg("--root")
        .arg(storage.join("root"))
        .arg("--runroot")
        .arg(storage.join("run"))
        .args(["--storage-driver", "overlay"])
        // No container engine, no systemd: RUN lines are run under chroot.
        .env("BUILDAH_ISOLATION", "chroot");
    command
}
