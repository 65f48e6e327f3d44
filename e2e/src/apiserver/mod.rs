//! An API server of its own for the tests that need no pods: etcd and kube-apiserver, nothing else.

mod audit;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub use audit::{AuditEvent, AuditLog, AuditObject, AuditStatus, AuditUser};

use crate::control_plane::ControlPlane;
use crate::processes::REST_USER;
use crate::tools;

const START_DEADLINE: Duration = Duration::from_secs(90);
const REST_KUBECONFIG: &str = "rest.kubeconfig";

/// A running etcd and kube-apiserver on loopback ports, gone when the value is dropped or the process ends in whatever way.
///
/// There is no controller manager: nothing deletes the contents of a namespace, no garbage is collected, no default service account made
/// (and none asked of a pod). RBAC is on, CEL rules and ValidatingAdmissionPolicies work, tokens of service accounts are issued.
///
/// ```no_run
/// # async fn doc() -> anyhow::Result<()> {
/// let server = trellis_e2e::ApiServer::shared().await?;
/// let client = server.client().await?;
/// trellis_e2e::install_crds(&client).await?;
/// let namespace = trellis_e2e::Namespace::create(&client, "retries").await?;
/// // … create GenerationJobs in namespace.name() …
/// let writes = server.audit_events()?.iter().filter(|event| event.is_write()).count();
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ApiServer {
    plane: ControlPlane,
    supervisor: Child,
    folder: TempDir,
}

impl ApiServer {
    /// The one server that all tests of a test binary share; each test makes namespaces of its own in it.
    ///
    /// # Errors
    /// See [`ApiServer::start`].
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<ApiServer> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// Starts a server, building its two programs first where that has not happened on this machine yet.
    ///
    /// # Errors
    /// Fails when a program cannot be built or does not get ready within 90 s; the message ends with the last lines of their logs.
    pub async fn start() -> Result<Self> {
        let (etcd, apiserver) = tokio::task::spawn_blocking(|| {
            anyhow::Ok((tools::path("etcd")?, tools::path("kube-apiserver")?))
        })
        .await??;
        let folder = tempfile::Builder::new().prefix("trellis-apiserver-").tempdir()?;
        let [port, etcd_port, etcd_peer_port] = free_ports()?;
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let plane =
            ControlPlane { folder: folder.path().to_owned(), address, port, etcd_port, etcd_peer_port };
        let pki = plane.prepare()?;
        let rest = pki.client("rest", REST_USER, Some("system:masters"))?;
        plane.write_kubeconfig(&plane.folder.join(REST_KUBECONFIG), &rest)?;
        let supervisor = supervise(&plane, &etcd, &apiserver)?;
        let mut server = Self { plane, supervisor, folder };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// A new client with all rights. A client belongs to the tokio runtime that made it, so each test makes one of its own.
    ///
    /// # Errors
    /// Fails when the kubeconfig cannot be read.
    pub async fn client(&self) -> Result<Client> {
        client_of(&self.kubeconfig()).await
    }

    /// The path of a kubeconfig with all rights.
    pub fn kubeconfig(&self) -> PathBuf {
        self.plane.kubeconfig()
    }

    /// The path of a kubeconfig of the REST API's own, also with all rights: the audit log then tells its requests from those of others.
    pub fn rest_kubeconfig(&self) -> PathBuf {
        self.plane.folder.join(REST_KUBECONFIG)
    }

    /// The path of the audit log: one JSON object a line for each request that was answered, at level Metadata.
    pub fn audit_log(&self) -> PathBuf {
        self.plane.audit_log()
    }

    /// The requests that were answered so far, oldest first: what a test needs to count writes.
    ///
    /// # Errors
    /// Fails when the log cannot be read.
    pub fn audit_events(&self) -> Result<Vec<AuditEvent>> {
        AuditLog::whole(self.audit_log()).events()
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let client = self.client().await?;
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            match client.request_text(request).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error)
                        .with_context(|| format!("the API server did not get ready\n{}", self.logs()));
                }
                Err(_) => {}
            }
            if let Some(status) = self.supervisor.try_wait()? {
                bail!("etcd or the API server ended at its start ({status})\n{}", self.logs());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn logs(&self) -> String {
        let tail = |name: &str| {
            let text = std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
            format!("--- {name}\n{}\n", tools::last_lines(&text, 15))
        };
        tail("etcd.log") + &tail("kube-apiserver.log")
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // Closing its input tells the supervisor to stop both programs, in the right order, and to remove the folder.
        drop(self.supervisor.stdin.take());
        if let Err(error) = self.supervisor.wait() {
            let _ = writeln!(std::io::stderr(), "cannot wait for the API server to end: {error}");
        }
    }
}

/// A client for whatever cluster the kubeconfig names as current.
pub(crate) async fn client_of(kubeconfig: &Path) -> Result<Client> {
    Ok(Client::try_from(config_of(kubeconfig).await?)?)
}

/// How to reach whatever cluster the kubeconfig names as current, and as whom.
pub(crate) async fn config_of(kubeconfig: &Path) -> Result<kube::Config> {
    let read = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("cannot read the kubeconfig {}", kubeconfig.display()))?;
    Ok(kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?)
}

fn supervise(plane: &ControlPlane, etcd: &Path, apiserver: &Path) -> Result<Child> {
    Command::new("bash")
        .args(["-c", include_str!("supervisor.sh"), "supervisor"])
        .arg(&plane.folder)
        .arg(etcd)
        .args(plane.etcd_arguments())
        .arg("--")
        .arg(apiserver)
        .args(plane.apiserver_arguments())
        // There is nobody to make the default service account that this plugin asks of every pod.
        .arg("--disable-admission-plugins=ServiceAccount")
        // Some clusters run it: it asks for a right where an object is made that keeps its owner.
        .arg("--enable-admission-plugins=OwnerReferencesPermissionEnforcement")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        // Not in the group that a terminal's Ctrl-C ends: the supervisor has to outlive the test to clean up.
        .process_group(0)
        .spawn()
        .context("cannot start bash for the API server")
}

/// Ports that were free a moment ago. All are held until the last is found, so that they differ.
fn free_ports() -> Result<[u16; 3]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held = [bind()?, bind()?, bind()?];
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
    Ok([port(&held[0])?, port(&held[1])?, port(&held[2])?])
}
