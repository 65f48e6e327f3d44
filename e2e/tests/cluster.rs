//! The local cluster itself: it runs real pods, and nothing of it stays behind.
//!
//! A machine has at most one. Where one is up already it is used and left as it was, and what takes a cluster's end cannot be tested.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::PostParams;
use serde_json::json;
use tokio::sync::Mutex;
use trellis_e2e::cluster::{self, Cluster};
use trellis_e2e::images::{FAKE_GCS_SERVER, Image, PROBE};
use trellis_e2e::{Namespace, in_namespace};

const LIMIT: Duration = Duration::from_secs(90);
/// Both tests start and stop the one cluster.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn the_cluster_runs_pods_and_leaves_nothing_behind() -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().await;
    if is_up() {
        return pods_run_and_reach_services().await;
    }
    let before = Traces::collect()?;
    command(&["up"])?;
    let ran = pods_run_and_reach_services().await;
    command(&["down"])?;
    ran?;
    before.compare()
}

#[tokio::test]
async fn a_start_that_was_killed_leaves_nothing_behind() -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().await;
    if is_up() {
        eprintln!("not tested: a cluster is up");
        return Ok(());
    }
    let before = Traces::collect()?;
    let mut up = Command::new(env!("CARGO_BIN_EXE_cluster")).arg("up").stderr(Stdio::null()).spawn()?;
    let deadline = Instant::now() + LIMIT;
    while !Cluster::new().status()?.contains(&("kube-apiserver", true)) {
        ensure!(up.try_wait()?.is_none() && Instant::now() < deadline, "the API server was not started");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    up.kill()?;
    up.wait()?;
    command(&["down"])?;
    before.compare()
}

fn is_up() -> bool {
    cluster::is_foreign() || command(&["status", "--quiet"]).is_ok()
}

async fn pods_run_and_reach_services() -> Result<()> {
    if !cluster::is_foreign() {
        for image in [PROBE, FAKE_GCS_SERVER] {
            Cluster::new().provide_image(image, Path::new(""))?;
        }
    }
    let client = cluster::client().await?;
    in_namespace(&client, "proof", async |namespace| {
        serve(namespace).await?;
        run_to_completion(namespace).await?;
        execute_in_a_pod(namespace)
    })
    .await
}

/// A Cloud Storage emulator behind a Service.
async fn serve(namespace: &Namespace) -> Result<()> {
    let service = json!({
        "metadata": {"name": "storage"},
        "spec": {"selector": {"app": "storage"}, "ports": [{"port": 80, "targetPort": 4443}]},
    });
    namespace.api::<Service>().create(&PostParams::default(), &serde_json::from_value(service)?).await?;
    let probe = json!({"httpGet": {"path": "/storage/v1/b", "port": 4443}, "periodSeconds": 1});
    create_pod(namespace, "storage", FAKE_GCS_SERVER, json!({"readinessProbe": probe})).await?;
    namespace.wait_for("storage", "ready", LIMIT, is_ready).await.map(drop)
}

/// A pod that claims a GPU finds the Service by name, and the API server by its own, and ends.
async fn run_to_completion(namespace: &Namespace) -> Result<()> {
    let script = "set -e; exec 3<>/dev/tcp/storage/80; printf 'GET /storage/v1/b HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3; \
                  exec 4<>/dev/tcp/kubernetes.default.svc.cluster.local/443; echo the API server answers";
    let claim = json!({"limits": {"nvidia.com/gpu": 1}, "requests": {"cpu": "10m"}});
    create_pod(namespace, "client", PROBE, json!({"command": ["bash", "-c", script], "resources": claim}))
        .await?;
    let ended = |pod: Option<&Pod>| pod.is_some_and(|pod| matches!(phase(pod), "Succeeded" | "Failed"));
    let pod = namespace.wait_for("client", "at its end", LIMIT, ended).await?.context("the pod is gone")?;
    ensure!(phase(&pod) == "Succeeded", "the client pod failed");
    let log = kubectl(namespace, &["logs", "client"])?;
    ensure!(
        log.contains("storage#buckets") && log.contains("the API server answers"),
        "the client said: {log}"
    );
    Ok(())
}

fn execute_in_a_pod(namespace: &Namespace) -> Result<()> {
    let version = kubectl(namespace, &["exec", "storage", "--", "/fake-gcs-server", "-h"])?;
    ensure!(version.contains("-backend"), "the program in the pod said: {version}");
    Ok(())
}

async fn create_pod(namespace: &Namespace, name: &str, image: Image, more: serde_json::Value) -> Result<()> {
    let mut container = json!({
        "name": name, "image": image.reference(), "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    });
    for (key, value) in more.as_object().context("no object")? {
        container[key] = value.clone();
    }
    let security = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    let pod = json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"restartPolicy": "Never", "securityContext": security, "containers": [container]},
    });
    namespace.api::<Pod>().create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    Ok(())
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn is_ready(pod: Option<&Pod>) -> bool {
    let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

fn kubectl(namespace: &Namespace, arguments: &[&str]) -> Result<String> {
    let mut kubectl =
        if cluster::is_foreign() { Command::new("kubectl") } else { Cluster::new().kubectl()? };
    let output = kubectl.args(["--namespace", namespace.name()]).args(arguments).output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "kubectl {arguments:?}: {said}");
    Ok(said)
}

fn command(arguments: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_cluster")).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "cluster {arguments:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a cluster could leave on a host.
#[derive(Debug)]
struct Traces(BTreeSet<String>);

impl Traces {
    fn collect() -> Result<Self> {
        let mut traces = BTreeSet::new();
        let mut note =
            |kind: &str, lines: String| traces.extend(lines.lines().map(|line| format!("{kind}: {line}")));
        note("interface", run("ip", &["-brief", "link"])?);
        note("route", run("ip", &["route"])?);
        note("network namespace", run("ip", &["netns"])?);
        note("packet filter", run("nft", &["list", "ruleset"])?);
        note("mount", std::fs::read_to_string("/proc/self/mounts")?);
        note(
            "kernel setting",
            run("sysctl", &["vm.overcommit_memory", "kernel.panic", "net.ipv4.ip_forward"])?,
        );
        note("control group", run("find", &["/sys/fs/cgroup", "-name", "*trellis3d*"])?);
        note("folder", run("find", &["/run", "/var/lib", "/var/log", "-maxdepth", "1"])?);
        // Whoever adopted a dead process may take its time to bury it.
        let processes = run("ps", &["-eo", "stat=,comm="])?;
        note(
            "process",
            processes.lines().filter(|line| !line.starts_with('Z')).collect::<Vec<_>>().join("\n"),
        );
        Ok(Self(traces))
    }

    /// Fails when there is more on the host than there was.
    fn compare(&self) -> Result<()> {
        let left = Self::collect()?.beyond(self);
        ensure!(left.is_empty(), "the cluster has left behind: {left:#?}");
        Ok(())
    }

    /// What is here and not in `other`. Processes of other users come and go: only those that nothing but a cluster starts count.
    fn beyond(&self, other: &Self) -> Vec<String> {
        let new = self.0.difference(&other.0);
        let parts = [
            "kubelet",
            "kube-proxy",
            "kube-scheduler",
            "containerd",
            "coredns",
            "catatonit",
            "fake-gcs",
            "nsenter",
        ];
        new.filter(|trace| !trace.starts_with("process") || parts.iter().any(|part| trace.contains(part)))
            .cloned()
            .collect()
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
