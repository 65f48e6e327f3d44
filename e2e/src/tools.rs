//! The Go programs that the cluster is made of, each built once from a pinned module under `e2e/tools/`.
//!
//! A program lands in `<cache>/go/<module>-<hash>/bin`, where the hash covers the module's `go.mod`, its `go.sum`, its own sources and the
//! Go version: whatever could change the program changes its place.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::command::output;
use crate::paths;
use crate::steps::say;

/// A program, the folder under `e2e/tools/` that pins it, and its Go package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// The file name of the program.
    pub name: &'static str,
    module: &'static str,
    package: &'static str,
}

const fn program(module: &'static str, name: &'static str, package: &'static str) -> Program {
    Program { name, module, package }
}

/// Every program, in the order in which a first build is useful.
pub const PROGRAMS: &[Program] = &[
    program("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    program("kubernetes", "kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    program("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
    program("kubeconform", "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),
    program("kubernetes", "kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    program("kubernetes", "kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    program("kubernetes", "kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    program("kubernetes", "kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    program("kubernetes", "kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    program("containerd", "containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
    program(
        "containerd",
        "containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    ),
    program("containerd", "ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
    program("runc", "runc", "github.com/opencontainers/runc"),
    program("cni", "ptp", "github.com/containernetworking/plugins/plugins/main/ptp"),
    program("cni", "loopback", "github.com/containernetworking/plugins/plugins/main/loopback"),
    program("cni", "host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
    program("coredns", "coredns", "github.com/coredns/coredns"),
    program("fake-gcs-server", "fake-gcs-server", "github.com/fsouza/fake-gcs-server"),
    program("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
    program("kstatus", "kstatus", "trellis3d.dev/tools/kstatus"),
    program("lua", "lua", "trellis3d.dev/tools/lua"),
    program("flux", "kustomize-controller", "github.com/fluxcd/kustomize-controller"),
    program("prometheus", "promtool", "github.com/prometheus/prometheus/cmd/promtool"),
];

/// The path of the program called `name`, built first if it is not there yet.
///
/// # Errors
/// Fails when no program has that name or when it cannot be built; the message says what to do.
pub fn path(name: &str) -> Result<PathBuf> {
    let program = PROGRAMS.iter().find(|program| program.name == name).with_context(|| {
        let known: Vec<_> = PROGRAMS.iter().map(|program| program.name).collect();
        format!("there is no program {name:?}; known are {}", known.join(", "))
    })?;
    program.path()
}

/// The sources of the Go module `wanted`, in the version that the module `tool` under `e2e/tools/` requires of `pin`: of the same module, or of
/// one that is released together with it. Go checks them against its checksum database.
///
/// # Errors
/// Fails when `tool` does not require `pin`, or when the sources cannot be downloaded.
pub fn sources_of(tool: &str, wanted: &str, pin: &str) -> Result<PathBuf> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Download {
        dir: PathBuf,
    }
    let folder = paths::source().join("e2e/tools").join(tool);
    let version = required_version(&fs::read_to_string(folder.join("go.mod"))?, pin)?;
    let mut download = go();
    download.args(["mod", "download", "-json", &format!("{wanted}@{version}")]).current_dir(folder);
    let said = output(&mut download)?;
    Ok(serde_json::from_str::<Download>(&said).with_context(|| format!("go mod download said {said}"))?.dir)
}

impl Program {
    fn path(&self) -> Result<PathBuf> {
        let source = paths::source().join("e2e/tools").join(self.module);
        let folder =
            paths::cache().join("go").join(format!("{}-{}", self.module, fingerprint(&source)?)).join("bin");
        let built = folder.join(self.name);
        if built.exists() {
            return Ok(built);
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        // Two commands that need the same module build it one after the other.
        let lock = File::create(folder.with_file_name("lock"))?;
        lock.lock()?;
        if !built.exists() {
            self.build(&source, &built)?;
        }
        Ok(built)
    }

    fn build(&self, source: &Path, built: &Path) -> Result<()> {
        say(format!("Building {} from Go source (once; kept in {}) ...", self.name, built.display()));
        let start = Instant::now();
        // runc alone needs C: libseccomp.
        let (cgo, tags) = if self.module == "runc" { ("1", "seccomp") } else { ("0", "") };
        let partial = built.with_extension("partial");
        let output = go()
            .args(["build", "-trimpath", "-tags", tags, "-ldflags", &self.linker_flags(source)?, "-o"])
            .arg(&partial)
            .arg(self.package)
            .env("CGO_ENABLED", cgo)
            .current_dir(source)
            .output()
            .map_err(missing_go)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("cannot build {}: {}\n{}", self.name, remedy(&said), last_lines(&said, 15));
        }
        fs::rename(&partial, built)?;
        say(format!("Built {} in {:.0} s.", self.name, start.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Programs of Kubernetes learn their version from the linker; without it they call themselves v0.0.0-master.
    fn linker_flags(&self, source: &Path) -> Result<String> {
        let mut flags = "-s -w".to_owned();
        if self.module == "kubernetes" {
            let version = required_version(&fs::read_to_string(source.join("go.mod"))?, "k8s.io/kubernetes")?;
            let mut numbers = version.trim_start_matches('v').split('.');
            let (major, minor) = (numbers.next().unwrap_or(""), numbers.next().unwrap_or(""));
            for (name, value) in [("gitVersion", version.as_str()), ("gitMajor", major), ("gitMinor", minor)]
            {
                flags += &format!(" -X k8s.io/component-base/version.{name}={value}");
            }
        }
        Ok(flags)
    }
}

/// The Go command, deaf to settings of the user that would change what is built.
fn go() -> Command {
    let mut go = Command::new("go");
    go.env("GOFLAGS", "-mod=readonly -buildvcs=false").env("GOWORK", "off");
    go
}

fn missing_go(error: std::io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        ErrorKind::NotFound => ": Go is not installed; install Go 1.26.6 or newer and put it on PATH",
        _ => "",
    };
    anyhow::Error::new(error).context(format!("cannot run go{hint}"))
}

fn fingerprint(source: &Path) -> Result<String> {
    let version = go().args(["env", "GOVERSION"]).output().map_err(missing_go)?;
    let mut hash = Sha256::new();
    for path in sources(source)? {
        hash.update(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    hash.update(version.stdout.trim_ascii());
    Ok(hex::encode(&hash.finalize()[..6]))
}

/// What a module consists of: `go.mod`, `go.sum`, and the Go files of programs of our own.
fn sources(module: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(module).with_context(|| format!("cannot read {}", module.display()))?;
    let mut paths = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| {
        path.extension().is_some_and(|kind| ["mod", "sum", "go"].iter().any(|known| kind == *known))
    });
    paths.sort();
    Ok(paths)
}

fn required_version(go_mod: &str, module: &str) -> Result<String> {
    go_mod
        .lines()
        .filter_map(|line| line.trim().strip_prefix(module)?.strip_prefix(' ')?.split(' ').next())
        .find(|version| version.starts_with('v'))
        .map(str::to_owned)
        .with_context(|| format!("go.mod requires no version of {module}"))
}

fn remedy(said: &str) -> &'static str {
    let mentions = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if mentions(&["requires go >=", "GOTOOLCHAIN"]) {
        "this Go is too old; install the version named below or a newer one"
    } else if mentions(&["dial tcp", "no such host", "i/o timeout", "proxyconnect", "TLS handshake"]) {
        "the Go module proxy cannot be reached; check the network and GOPROXY, then run the command again"
    } else if mentions(&["pkg-config", "libseccomp"]) {
        "a C library is missing; on Debian: apt-get install gcc pkg-config libseccomp-dev"
    } else if mentions(&["no space left on device"]) {
        "the disk is full; the Go caches need 6 GB"
    } else {
        "the compiler said"
    }
}

/// The end of a long text: what a person needs to see of it first.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_pinned_by_its_module() {
        for program in PROGRAMS {
            let file = paths::source().join("e2e/tools").join(program.module).join("go.mod");
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.contains(program.package), "{} does not list {}", file.display(), program.package);
        }
    }

    #[test]
    fn the_version_of_kubernetes_is_the_required_one() {
        let go_mod = "replace (\n\tk8s.io/kubernetes/x => y v9\n)\nrequire (\n\tk8s.io/kubernetes v1.36.3 // indirect\n)";
        assert_eq!(required_version(go_mod, "k8s.io/kubernetes").unwrap(), "v1.36.3");
    }
}
