//! The local cluster: a real Kubernetes on this machine, without Docker.
//!
//! There is at most one on a machine. What it is made of runs in namespaces of its own (`machine.rs`); its files lie in `<cache>/cluster`.
//! `CLUSTER=current` puts the cluster of the current kubectl context in its place.

mod cgroups;
mod components;
mod config;
mod machine;

use std::fs::{self, File};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::config::AuthInfo;

use crate::AuditLog;
use crate::command::{output, run};
use crate::control_plane::ControlPlane;
use crate::images::{COREDNS, Image, PAUSE};
use crate::tools::last_lines;
use crate::wait::poll;
use crate::{paths, tools};
use components::Component;
use machine::Machine;

/// The name of the only node.
const NODE: &str = "trellis3d";
const START_LIMIT: Duration = Duration::from_secs(120);

/// The local cluster, whether it runs or not.
#[derive(Debug)]
pub struct Cluster {
    plane: ControlPlane,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    /// The cluster of this machine and cache.
    pub fn new() -> Self {
        let folder = paths::cache().join("cluster");
        let address = IpAddr::from(machine::NODE_ADDRESS);
        Self { plane: ControlPlane { folder, address, port: 6443, etcd_port: 2379, etcd_peer_port: 2380 } }
    }

    /// The kubeconfig with all rights; there while the cluster is.
    pub fn kubeconfig(&self) -> PathBuf {
        self.plane.kubeconfig()
    }

    /// Starts what does not run yet and returns when pods can run and Services have names; quick when all is up.
    /// The node offers `gpus` of `nvidia.com/gpu`, which are counted by the scheduler and the kubelet though there are none.
    ///
    /// # Errors
    /// Fails when a program cannot be built, or does not get ready; the message ends with what it logged last. What had been started stays, to be looked at,
    /// until [`Cluster::down`].
    pub fn up(&self, gpus: u32) -> Result<()> {
        if !rustix::process::geteuid().is_root() {
            bail!(
                "the local cluster needs root: run this with sudo, or use a cluster of yours with CLUSTER=current"
            );
        }
        let images = [PAUSE.build(Path::new(""))?, COREDNS.build(Path::new(""))?];
        let components = components::components(&self.plane)?;
        let _lock = self.lock()?;
        let machine = self.machine()?;
        for component in &components {
            self.start(&machine, component)?;
        }
        for image in &images {
            self.import(&machine, image)?;
        }
        self.wait_for_node()?;
        self.offer_gpus(gpus)?;
        self.install_dns()
    }

    /// Ends the cluster and removes everything of it from this machine, also what a crash has left. Images have to be loaded again after this.
    ///
    /// # Errors
    /// Fails when the kernel does not clear away a process or a control group in time.
    pub fn down(&self) -> Result<()> {
        let _lock = self.lock()?;
        if let Some(machine) = Machine::find().filter(|machine| machine.state == self.plane.folder) {
            machine.kill()?;
        }
        if Machine::find().is_none() {
            cgroups::remove()?;
        }
        let folder = &self.plane.folder;
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        Ok(())
    }

    /// What of the cluster runs: each program's name, and whether it does.
    ///
    /// # Errors
    /// Fails when a program has never been built and cannot be.
    pub fn status(&self) -> Result<Vec<(&'static str, bool)>> {
        let machine = Machine::find().filter(|machine| machine.state == self.plane.folder);
        let Some(machine) = machine else { return Ok(vec![("machine", false)]) };
        let mut status = vec![("machine", true)];
        for component in components::components(&self.plane)? {
            status.push((component.name, machine.runs(&component.program)));
        }
        Ok(status)
    }

    /// Loads an image from an OCI archive, as the kubelet's own, so that nothing needs to be pulled. Returns whether that was news to the cluster.
    ///
    /// # Errors
    /// Fails when the cluster is not up or the file is no archive of an image.
    pub fn load_image(&self, archive: &Path) -> Result<bool> {
        let _lock = self.lock()?;
        let machine = Machine::find()
            .filter(|machine| machine.state == self.plane.folder)
            .context("the local cluster is not up; start it first: cluster up")?;
        self.import(&machine, archive)
    }

    /// Builds an image where it has changed, and loads it. Binaries of the workspace are taken from the folder `binaries`.
    /// Returns whether that was news to the cluster.
    ///
    /// # Errors
    /// See [`Image::build`] and [`Cluster::load_image`].
    pub fn provide_image(&self, image: Image, binaries: &Path) -> Result<bool> {
        self.load_image(&image.build(binaries)?)
    }

    /// kubectl, set to this cluster.
    ///
    /// # Errors
    /// Fails when kubectl has never been built and cannot be.
    pub fn kubectl(&self) -> Result<Command> {
        let mut kubectl = Command::new(tools::path("kubectl")?);
        kubectl.arg("--kubeconfig").arg(self.kubeconfig()).env_remove("KUBECONFIG");
        Ok(kubectl)
    }

    /// The requests that the API server answers from now on.
    ///
    /// # Errors
    /// Fails when the cluster is not up.
    pub fn audit_log(&self) -> Result<AuditLog> {
        AuditLog::from_now_on(self.plane.audit_log())
    }

    /// One command at a time changes a cluster.
    fn lock(&self) -> Result<File> {
        let folder = paths::cache();
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let lock = File::open(&folder)?;
        lock.lock()?;
        Ok(lock)
    }

    fn machine(&self) -> Result<Machine> {
        let state = &self.plane.folder;
        match Machine::find() {
            Some(machine) if machine.state == *state => return Ok(machine),
            Some(other) => bail!(
                "another cluster runs on this machine, from {state}\nEnd it first: TRELLIS_CACHE={cache} cluster down",
                state = other.state.display(),
                cache = other.state.parent().unwrap_or(Path::new("/")).display(),
            ),
            None => {}
        }
        // What a killed cluster has left would be taken for news by the new one.
        if state.exists() {
            fs::remove_dir_all(state).with_context(|| format!("cannot remove {}", state.display()))?;
        }
        cgroups::remove()?;
        fs::create_dir_all(state.join("logs"))?;
        components::configure(&self.plane, &PAUSE.reference())?;
        cgroups::create()?;
        Machine::start(state)
    }

    fn start(&self, machine: &Machine, component: &Component) -> Result<()> {
        if machine.runs(&component.program) {
            return Ok(());
        }
        let log = self.plane.folder.join("logs").join(format!("{}.log", component.name));
        let mut child = machine.daemon(&component.program, &component.arguments, &log)?;
        let ready = poll(&format!("{} to get ready", component.name), START_LIMIT, || {
            if let Some(status) = child.try_wait()? {
                bail!("{} ended at its start ({status})", component.name);
            }
            Ok((machine.runs(&component.program) && self.ready(machine, component)).then_some(()))
        });
        ready.with_context(|| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            format!(
                "the last lines of {}:\n{}\nWhen the cause is gone: cluster down, cluster up",
                log.display(),
                last_lines(&said, 15)
            )
        })
    }

    /// Whether others can rely on the component. The kubelet is judged by its node, the rest by nobody waiting for them.
    fn ready(&self, machine: &Machine, component: &Component) -> bool {
        match component.name {
            "kube-apiserver" => self.asked(["get", "--raw=/readyz"]).is_ok(),
            "containerd" => {
                tools::path("ctr").is_ok_and(|ctr| run(machine.enter(ctr).arg("version")).is_ok())
            }
            _ => true,
        }
    }

    fn import(&self, machine: &Machine, archive: &Path) -> Result<bool> {
        let archive =
            archive.canonicalize().with_context(|| format!("there is no archive {}", archive.display()))?;
        let name = archive.file_name().unwrap_or_default().to_owned();
        let mark = self.plane.folder.join("images").join(name);
        let data = fs::metadata(&archive)?;
        let version = format!("{} {} {:?}", archive.display(), data.len(), data.modified()?);
        if fs::read_to_string(&mark).is_ok_and(|imported| imported == version) {
            return Ok(false);
        }
        // By way of the input, since the machine does not see all folders of the host.
        let file = File::open(&archive)?;
        run(machine
            .enter(tools::path("ctr")?)
            .args(["--namespace", "k8s.io", "images", "import", "-"])
            .stdin(file))
        .with_context(|| format!("cannot load {}; is it an OCI archive of an image?", archive.display()))?;
        fs::create_dir_all(mark.parent().unwrap_or(Path::new("/")))?;
        fs::write(mark, version)?;
        Ok(true)
    }

    fn wait_for_node(&self) -> Result<()> {
        let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status} {.spec.taints}";
        let ready = poll("the node to get ready", START_LIMIT, || {
            let node = self.asked(["get", "node", NODE, "--ignore-not-found", "--output", path])?;
            Ok((node.trim() == "True").then_some(()))
        });
        ready.with_context(|| {
            let log = self.plane.folder.join("logs/kubelet.log");
            let said = fs::read_to_string(&log).unwrap_or_default();
            format!("the last lines of {}:\n{}", log.display(), last_lines(&said, 15))
        })
    }

    fn offer_gpus(&self, gpus: u32) -> Result<()> {
        let count = serde_json::json!({"nvidia.com/gpu": gpus.to_string()});
        let patch = serde_json::json!({"status": {"capacity": count, "allocatable": count}}).to_string();
        self.asked(["patch", "node", NODE, "--subresource=status", "--patch", &patch]).map(drop)
    }

    fn install_dns(&self) -> Result<()> {
        let mut kubectl = self.kubectl()?;
        let mut apply = kubectl
            .args(["apply", "--server-side", "--filename", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot run kubectl")?;
        if let Some(mut input) = apply.stdin.take() {
            input.write_all(include_bytes!("coredns.yaml"))?;
        }
        if !apply.wait()?.success() {
            bail!("the API server refused the cluster's DNS; see kubectl's words above");
        }
        self.asked(["rollout", "status", "--namespace=kube-system", "deployment/coredns", "--timeout=120s"])
            .context(
                "the cluster's DNS did not get ready; see: kubectl --namespace kube-system describe pods",
            )
            .map(drop)
    }

    fn asked<const N: usize>(&self, arguments: [&str; N]) -> Result<String> {
        output(self.kubectl()?.args(arguments))
    }
}

/// Whether `CLUSTER=current` asks to use the current kubectl context instead of the local cluster.
pub fn is_foreign() -> bool {
    std::env::var("CLUSTER").is_ok_and(|which| which == "current")
}

/// A client with all rights for the cluster that tests are to use: the local one, or, with `CLUSTER=current`, that of the current kubectl context.
///
/// # Errors
/// Fails when that cluster does not answer; the message says how to start it.
pub async fn client() -> Result<Client> {
    if is_foreign() {
        return Client::try_default()
            .await
            .context("CLUSTER=current, but the current kubectl context cannot be used");
    }
    let kubeconfig = Cluster::new().kubeconfig();
    let client = crate::apiserver::client_of(&kubeconfig)
        .await
        .context("the local cluster is not up; start it: make up")?;
    client
        .apiserver_version()
        .await
        .context("the local cluster does not answer; start it again: make down up")?;
    Ok(client)
}

/// A client that has no more rights than the owner of a service account's token.
///
/// # Errors
/// Fails when no cluster is known.
pub async fn client_with_token(token: &str) -> Result<Client> {
    let mut config = if is_foreign() {
        kube::Config::infer().await?
    } else {
        crate::apiserver::config_of(&Cluster::new().kubeconfig()).await?
    };
    config.auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
    Ok(Client::try_from(config)?)
}
