//! How etcd and kube-apiserver are started, for the fixture of the tests and for the cluster alike.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use crate::pki::{Identity, Pki};

/// The range of Service addresses; its first address is the API server's own Service.
pub(crate) const SERVICE_RANGE: &str = "10.96.0.0/16";
const API_SERVICE: [u8; 4] = [10, 96, 0, 1];
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Where a control plane keeps its files and listens.
#[derive(Debug, Clone)]
pub(crate) struct ControlPlane {
    /// Everything that is written lies here.
    pub(crate) folder: PathBuf,
    /// The address of the API server.
    pub(crate) address: IpAddr,
    /// The port of the API server.
    pub(crate) port: u16,
    /// The client port of etcd, on 127.0.0.1.
    pub(crate) etcd_port: u16,
    /// The peer port of etcd, on 127.0.0.1.
    pub(crate) etcd_peer_port: u16,
}

impl ControlPlane {
    pub(crate) fn url(&self) -> String {
        format!("https://{}:{}", self.address, self.port)
    }

    pub(crate) fn pki_folder(&self) -> PathBuf {
        self.folder.join("pki")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// Writes the certificates, the audit policy and the administrator's kubeconfig.
    pub(crate) fn prepare(&self) -> Result<Pki> {
        let pki = Pki::create(&self.pki_folder())?;
        let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        pki.server("kube-apiserver", &names, &[self.address, IpAddr::from(API_SERVICE)])?;
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
            // Of writes also that they came: only so can a reader tell that none is under way (`AuditLog::events`).
            "rules": [
                {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
                {"level": "Metadata", "omitStages": ["RequestReceived"]},
            ],
        });
        std::fs::write(self.folder.join("audit-policy.yaml"), policy.to_string())?;
        let admin = pki.client("admin", "trellis-admin", Some("system:masters"))?;
        self.write_kubeconfig(&self.kubeconfig(), &admin)?;
        Ok(pki)
    }

    /// Writes a kubeconfig that needs no other file.
    pub(crate) fn write_kubeconfig(&self, path: &Path, identity: &Identity) -> Result<()> {
        let data = |file: &Path| -> Result<String> {
            let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            Ok(serde_json::to_value(k8s_openapi::ByteString(text))?.as_str().unwrap_or_default().to_owned())
        };
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "trellis",
            "clusters": [{"name": "trellis", "cluster": {
                "server": self.url(), "certificate-authority-data": data(&identity.authority)?,
            }}],
            "users": [{"name": "trellis", "user": {
                "client-certificate-data": data(&identity.certificate)?, "client-key-data": data(&identity.key)?,
            }}],
            "contexts": [{"name": "trellis", "context": {"cluster": "trellis", "user": "trellis"}}],
        });
        std::fs::write(path, serde_yaml::to_string(&config)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The arguments of etcd. It keeps throw-away data, so it need not wait for the disk.
    pub(crate) fn etcd_arguments(&self) -> Vec<String> {
        let client = format!("http://127.0.0.1:{}", self.etcd_port);
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer_port);
        vec![
            format!("--data-dir={}", self.folder.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ]
    }

    /// The arguments of kube-apiserver.
    pub(crate) fn apiserver_arguments(&self) -> Vec<String> {
        let pki = |name: &str| self.pki_folder().join(name).display().to_string();
        vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--bind-address={}", self.address),
            format!("--advertise-address={}", self.address),
            format!("--secure-port={}", self.port),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            format!("--client-ca-file={}", pki("ca.crt")),
            format!("--tls-cert-file={}", pki("kube-apiserver.crt")),
            format!("--tls-private-key-file={}", pki("kube-apiserver.key")),
            format!("--service-account-issuer={ISSUER}"),
            format!("--service-account-key-file={}", pki("service-account.pub")),
            format!("--service-account-signing-key-file={}", pki("service-account.key")),
            format!("--audit-policy-file={}", self.folder.join("audit-policy.yaml").display()),
            format!("--audit-log-path={}", self.audit_log().display()),
            // MiB. A log that were replaced in between would not be read to its end.
            "--audit-log-maxsize=8192".to_owned(),
            "--profiling=false".to_owned(),
        ]
    }
}
