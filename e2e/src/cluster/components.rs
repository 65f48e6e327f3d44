//! The programs that make a cluster, in the order in which they start.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use super::{NODE, cgroups, config};
use crate::control_plane::ControlPlane;
use crate::pki::Pki;
use crate::tools;

/// A program that runs for as long as the cluster does.
#[derive(Debug)]
pub(crate) struct Component {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// All programs of the cluster, built where they are not yet.
pub(crate) fn components(plane: &ControlPlane) -> Result<Vec<Component>> {
    let state = &plane.folder;
    let option = |name: &str, file: &str| format!("--{name}={}", state.join(file).display());
    let mut apiserver = plane.apiserver_arguments();
    let pki = |file: &str| plane.pki_folder().join(file).display().to_string();
    apiserver.extend([
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--kubelet-client-certificate={}", pki("kubelet-client.crt")),
        format!("--kubelet-client-key={}", pki("kubelet-client.key")),
    ]);
    let controller_manager = vec![
        option("kubeconfig", "controller-manager.kubeconfig"),
        format!("--service-account-private-key-file={}", pki("service-account.key")),
        format!("--root-ca-file={}", pki("ca.crt")),
        "--use-service-account-credentials=true".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        "--leader-elect=false".to_owned(),
    ];
    let scheduler = vec![
        option("kubeconfig", "scheduler.kubeconfig"),
        "--bind-address=127.0.0.1".to_owned(),
        "--leader-elect=false".to_owned(),
    ];
    let kubelet = vec![
        option("config", "kubelet.yaml"),
        option("kubeconfig", "kubelet.kubeconfig"),
        option("root-dir", "kubelet"),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={}", plane.address),
    ];
    [
        ("etcd", plane.etcd_arguments()),
        ("kube-apiserver", apiserver),
        ("kube-controller-manager", controller_manager),
        ("kube-scheduler", scheduler),
        ("containerd", vec![option("config", "containerd.toml")]),
        ("kubelet", kubelet),
        ("kube-proxy", vec![option("config", "kube-proxy.yaml")]),
    ]
    .into_iter()
    .map(|(name, arguments)| Ok(Component { name, program: tools::path(name)?, arguments }))
    .collect()
}

/// Writes certificates, kubeconfigs and configuration files, and builds the programs that are run by other programs.
pub(crate) fn configure(plane: &ControlPlane, sandbox_image: &str) -> Result<()> {
    let state = &plane.folder;
    let pki = plane.prepare()?;
    pki.client("kubelet-client", "kube-apiserver-kubelet-client", Some("system:masters"))?;
    identify(plane, &pki, "kubelet", &format!("system:node:{NODE}"), Some("system:nodes"))?;
    identify(plane, &pki, "controller-manager", "system:kube-controller-manager", None)?;
    identify(plane, &pki, "scheduler", "system:kube-scheduler", None)?;
    identify(plane, &pki, "kube-proxy", "system:kube-proxy", None)?;

    tools::path("containerd-shim-runc-v2")?;
    tools::path("loopback")?;
    tools::path("host-local")?;
    let (runc, ptp) = (tools::path("runc")?, tools::path("ptp")?);
    let cni_programs = ptp.parent().unwrap_or(Path::new("/"));
    fs::write(state.join("containerd.toml"), config::containerd(state, &runc, cni_programs, sandbox_image))?;
    fs::create_dir_all(state.join("cni"))?;
    fs::write(state.join("cni/trellis.conflist"), config::cni().to_string())?;
    let write = |file: &str, value: Value| -> Result<()> {
        Ok(fs::write(state.join(file), serde_yaml::to_string(&value)?)?)
    };
    write("kubelet.yaml", config::kubelet(&plane.pki_folder().join("ca.crt"), cgroups::NAME))?;
    write("kube-proxy.yaml", config::kube_proxy(&state.join("kube-proxy.kubeconfig"), NODE))
}

fn identify(plane: &ControlPlane, pki: &Pki, name: &str, user: &str, group: Option<&str>) -> Result<()> {
    let identity = pki.client(name, user, group)?;
    plane.write_kubeconfig(&plane.folder.join(format!("{name}.kubeconfig")), &identity)
}
