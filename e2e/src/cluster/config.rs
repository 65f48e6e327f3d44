//! The configuration files of the node's programs.

use std::path::Path;

use serde_json::{Value, json};

/// Where containerd listens, on the cluster's machine.
pub(crate) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
/// The address of the cluster's DNS.
pub(crate) const DNS_ADDRESS: &str = "10.96.0.10";
/// The addresses of pods.
pub(crate) const POD_RANGE: &str = "10.244.0.0/16";

/// What containerd has to know (configuration version 3). Images are imported, never pulled.
pub(crate) fn containerd(state: &Path, runc: &Path, cni_programs: &Path, sandbox_image: &str) -> String {
    let (root, cni) = (state.join("containerd"), state.join("cni"));
    let (root, cni, cni_programs, runc) =
        (root.display(), cni.display(), cni_programs.display(), runc.display());
    format!(
        r#"version = 3
root = "{root}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{sandbox_image}"
[plugins."io.containerd.cri.v1.runtime"]
# Without CAP_SYS_RESOURCE, runc may not lower a container's oom_score_adj.
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{cni_programs}"]
conf_dir = "{cni}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"#
    )
}

/// The pods' network: a point-to-point link and a route for each pod, so that no bridge can let a reply bypass kube-proxy's translation.
pub(crate) fn cni() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "trellis",
        "plugins": [{
            "type": "ptp",
            "ipam": {
                "type": "host-local", "dataDir": "/run/cni",
                "ranges": [[{"subnet": POD_RANGE}]], "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
}

/// KubeletConfiguration.
pub(crate) fn kubelet(client_authority: &Path, cgroup: &str) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {"x509": {"clientCAFile": client_authority}},
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        "clusterDNS": [DNS_ADDRESS], "clusterDomain": "cluster.local", "resolvConf": "",
        "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{cgroup}"), "failCgroupV1": false,
        "enforceNodeAllocatable": [], "failSwapOn": false, "makeIPTablesUtilChains": false,
        // A full disk of the host is no reason to evict the pods of a throw-away cluster.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%"},
    })
}

/// KubeProxyConfiguration. Limits of connection tracking belong to the host and stay as they are.
pub(crate) fn kube_proxy(kubeconfig: &Path, node: &str) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig}, "hostnameOverride": node,
        "mode": "nftables", "clusterCIDR": POD_RANGE, "conntrack": {"maxPerCore": 0, "min": 0},
    })
}
