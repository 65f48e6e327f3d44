//! The product in a cluster: storage emulator, model, charts. What `make demo` shows and what the cluster tests test.

mod keys;
mod port_forward;
mod storage;
mod writes;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use trellis_storage::Storage;

pub use keys::{Keys, User};
pub use port_forward::PortForward;
pub use writes::job_writes;

use crate::cluster::{self, Cluster};
use crate::command::{output, run};
use crate::images::{API, FAKE_GCS_SERVER, IMAGES, OPERATOR, WORKER, build_binaries};
use crate::steps::{say, step};
use crate::{paths, tools};

/// The namespace of operator, API and workers.
pub const NAMESPACE: &str = "trellis-system";
/// The namespace of the Cloud Storage emulator.
const STORAGE_NAMESPACE: &str = "storage";
/// How long pods may take to get ready.
const READY_LIMIT: &str = "--timeout=180s";

/// The product, installed in the local cluster or, with `CLUSTER=current`, in that of the current kubectl context.
#[derive(Debug)]
pub struct Installation {
    kubeconfig: Option<PathBuf>,
    keys: Keys,
}

impl Installation {
    /// What was installed before by [`Installation::install`].
    ///
    /// # Errors
    /// Fails when nothing was.
    pub fn existing() -> Result<Self> {
        let kubeconfig = (!cluster::is_foreign()).then(|| Cluster::new().kubeconfig());
        Ok(Self { kubeconfig, keys: Keys::read()? })
    }

    /// Builds and starts what is missing, step by step; quick when all is there.
    ///
    /// # Errors
    /// Fails at the first step that does, with its cause and the remedy.
    pub async fn install() -> Result<Self> {
        let binaries = step("Building the programs", async { blocking(|| build_binaries(&IMAGES)) }).await?;
        let local = !cluster::is_foreign();
        let mut changed = false;
        if local {
            let cluster = Cluster::new();
            step("Starting the local cluster", async { blocking(|| cluster.up(GPUS)) }).await?;
            let images = [FAKE_GCS_SERVER, OPERATOR, API, WORKER];
            changed = step("Building and loading the images", async {
                blocking(|| {
                    images
                        .iter()
                        .try_fold(false, |news, image| Ok(news | cluster.provide_image(*image, &binaries)?))
                })
            })
            .await?;
        }
        let kubeconfig = local.then(|| Cluster::new().kubeconfig());
        let installation = Self { kubeconfig, keys: Keys::provide()? };
        step("Starting object storage, uploading the models", installation.provide_storage()).await?;
        step("Installing the charts", async { blocking(|| installation.install_charts(changed)) }).await?;
        Ok(installation)
    }

    /// The API keys of the installation's users.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// kubectl, set to the cluster.
    ///
    /// # Errors
    /// Fails when kubectl cannot be built.
    pub fn kubectl(&self) -> Result<Command> {
        self.pointed(Command::new(tools::path("kubectl")?))
    }

    /// Forwards a port of this machine to the REST API.
    ///
    /// # Errors
    /// Fails when no pod of the API is ready.
    pub async fn api(&self) -> Result<PortForward> {
        PortForward::start(self.kubectl()?.into(), NAMESPACE, "trellis-api", 80).await
    }

    /// The storage of the cluster, and the forwarded port through which it is reached.
    ///
    /// # Errors
    /// Fails when its pod is not ready.
    pub async fn storage(&self) -> Result<(Storage, PortForward)> {
        let port = PortForward::start(self.kubectl()?.into(), STORAGE_NAMESPACE, "fake-gcs", 4443).await?;
        Ok((storage::connect(port.address()), port))
    }

    async fn provide_storage(&self) -> Result<()> {
        let manifest = paths::source().join("e2e/manifests/fake-gcs.yaml");
        blocking(|| {
            run(self.kubectl()?.args(["apply", "--server-side", "--filename"]).arg(manifest))?;
            let namespace = format!("--namespace={STORAGE_NAMESPACE}");
            run(self.kubectl()?.args(["rollout", "status", &namespace, "deployment/fake-gcs", READY_LIMIT]))
                .context(
                    "the storage emulator did not get ready; see: kubectl --namespace storage describe pods",
                )
        })?;
        let (_, port) = self.storage().await?;
        storage::fill(port.address()).await
    }

    /// Installs both charts; where images changed under the same name, their pods are replaced.
    fn install_charts(&self, images_changed: bool) -> Result<()> {
        say("chart trellis-crds");
        self.helm(&["trellis-crds", "charts/trellis-crds"])?;
        say("chart trellis");
        let [image, text] =
            ["image", "text"].map(|name| format!("pools.{name}.modelUri={}", storage::model_uri(name)));
        let keys = self.keys.values_file()?;
        let keys = keys.path().display().to_string();
        let mut arguments = vec![
            "trellis",
            "charts/trellis",
            "--values",
            "e2e/manifests/values.yaml",
            "--values",
            &keys,
            "--set",
            &image,
            "--set",
            &text,
        ];
        if cluster::is_foreign() {
            // Nothing says that such a cluster has GPUs.
            arguments.extend(["--set", "pools.image.accelerator=null,pools.text.accelerator=null"]);
        }
        self.helm(&arguments)?;
        let namespace = format!("--namespace={NAMESPACE}");
        if images_changed {
            let component = "--selector=app.kubernetes.io/component=worker";
            run(self.kubectl()?.args(["delete", "pods", &namespace, component, "--wait=false"]))?;
            run(self.kubectl()?.args(["rollout", "restart", &namespace, "deployment"]))?;
        }
        for deployment in ["deployment/trellis-operator", "deployment/trellis-api"] {
            say(format!("waiting for {deployment}"));
            run(self.kubectl()?.args(["rollout", "status", &namespace, deployment, READY_LIMIT]))
                .with_context(|| {
                    format!(
                        "{deployment} did not get ready; see: kubectl --namespace {NAMESPACE} describe pods"
                    )
                })?;
        }
        Ok(())
    }

    fn helm(&self, release: &[&str]) -> Result<()> {
        let mut helm = self.pointed(Command::new(tools::path("helm")?))?;
        helm.current_dir(paths::source()).args([
            "upgrade",
            "--install",
            "--create-namespace",
            "--namespace",
            NAMESPACE,
        ]);
        output(helm.args(release)).map(drop)
    }

    fn pointed(&self, mut command: Command) -> Result<Command> {
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        Ok(command)
    }
}

/// How many GPUs the local cluster's node says it has: one for a worker of each of the chart's pools, and three for tests.
const GPUS: u32 = 5;

/// Runs what blocks without holding up the other tasks, such as forwarded ports.
fn blocking<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    tokio::task::block_in_place(work)
}
