//! The cluster's machine: namespaces in which a whole node lives and dies.
//!
//! Everything that a Kubernetes node scatters over a host (processes, mounts, interfaces, packet filters, kernel settings) is
//! kept inside process, mount and network namespaces whose first process is `machine.sh`. Ending that one process undoes it all, also after a crash.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::command::run;
use crate::paths;
use crate::tools::last_lines;
use crate::wait::poll;

/// The mark, in its environment, of a machine's first process: the state folder.
const MARK: &str = "TRELLIS_CLUSTER";
/// The interface that the host sees; its other end is the machine's `eth0`. The addresses are of the range for benchmarks (RFC 2544), which no network uses.
pub(crate) const HOST_INTERFACE: &str = "trellis0";
const HOST_ADDRESS: &str = "198.19.244.1/30";
/// The node's address.
pub(crate) const NODE_ADDRESS: [u8; 4] = [198, 19, 244, 2];

/// A running machine.
#[derive(Debug)]
pub(crate) struct Machine {
    init: i32,
    /// The state folder of the cluster that it belongs to.
    pub(crate) state: PathBuf,
}

impl Machine {
    /// The machine that runs on this host, if any: there is at most one.
    pub(crate) fn find() -> Option<Self> {
        processes().into_iter().find_map(|pid| {
            let folder = PathBuf::from(format!("/proc/{pid}"));
            let status = fs::read_to_string(folder.join("status")).ok()?;
            // First in a process namespace below ours: `NSpid: <here> 1`.
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            ids.split_whitespace().skip(1).last().filter(|&inner| inner == "1")?;
            let environment = fs::read(folder.join("environ")).ok()?;
            let prefix = format!("{MARK}=");
            let state = environment
                .split(|&byte| byte == 0)
                .find_map(|entry| entry.strip_prefix(prefix.as_bytes()))?;
            Some(Self { init: pid, state: String::from_utf8_lossy(state).into_owned().into() })
        })
    }

    /// Starts the machine of the cluster whose state folder is `state`, and connects it with the host.
    pub(crate) fn start(state: &Path) -> Result<Self> {
        let ready = state.join("machine-ready");
        let log = state.join("logs/machine.log");
        let mut unshare = Command::new("setsid")
            .args([
                "unshare",
                "--mount",
                "--net",
                "--pid",
                "--uts",
                "--ipc",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["bash", "-c", include_str!("machine.sh"), "machine"])
            .args([&paths::cache(), &ready])
            .env(MARK, state)
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log)?)
            .stderr(fs::File::options().append(true).open(&log)?)
            .spawn()
            .context("cannot run setsid and unshare (on Debian: apt-get install util-linux)")?;
        poll("the machine's namespaces", Duration::from_secs(20), || {
            if let Some(status) = unshare.try_wait()? {
                let said = fs::read_to_string(&log).unwrap_or_default();
                bail!(
                    "cannot make the namespaces of the cluster's machine ({status}): {}\nThis needs root and a kernel with \
                     namespaces, overlayfs and veth; inside a container, a privileged one.",
                    last_lines(&said, 5)
                );
            }
            Ok(ready.exists().then_some(()))
        })?;
        let machine = Self::find().context("the cluster's machine ended as soon as it had started")?;
        machine.connect()?;
        Ok(machine)
    }

    fn connect(&self) -> Result<()> {
        let init = self.init.to_string();
        let peer = ["peer", "name", "eth0", "netns", &init];
        run(Command::new("ip").args(["link", "add", HOST_INTERFACE, "type", "veth"]).args(peer))?;
        run(Command::new("ip").args(["address", "add", HOST_ADDRESS, "dev", HOST_INTERFACE]))?;
        run(Command::new("ip").args(["link", "set", HOST_INTERFACE, "up"]))?;
        let address = format!("{}/30", std::net::Ipv4Addr::from(NODE_ADDRESS));
        run(self.enter("ip").args(["address", "add", &address, "dev", "eth0"]))?;
        run(self.enter("ip").args(["link", "set", "eth0", "up"]))
    }

    /// A command that will run on the machine.
    pub(crate) fn enter(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        let target = self.init.to_string();
        command
            .args(["--target", &target, "--mount", "--net", "--pid", "--uts", "--ipc", "--wd=/", "--"])
            .arg(program);
        command
    }

    /// Starts a program on the machine that outlives this process.
    pub(crate) fn daemon(&self, program: &Path, arguments: &[String], log: &Path) -> Result<Child> {
        let mut command = self.enter("setsid");
        let path = program.parent().unwrap_or(Path::new("/"));
        command
            .arg(program)
            .args(arguments)
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", path.display()))
            .stdin(Stdio::null())
            .stdout(fs::File::create(log)?)
            .stderr(fs::File::options().append(true).open(log)?)
            .process_group(0);
        command.spawn().with_context(|| format!("cannot start {}", program.display()))
    }

    /// Whether a process of the machine runs this program.
    pub(crate) fn runs(&self, program: &Path) -> bool {
        let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(self.init);
        processes().into_iter().any(|pid| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|running| running == program)
                && namespace(pid) == own
        })
    }

    /// Ends the machine and all that runs on it, and waits until the kernel has cleared it away.
    pub(crate) fn kill(self) -> Result<()> {
        if let Some(pid) = Pid::from_raw(self.init) {
            match kill_process(pid, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error).context("cannot end the cluster's machine; are you root?"),
            }
        }
        let process = PathBuf::from(format!("/proc/{}", self.init));
        let interface = Path::new("/sys/class/net").join(HOST_INTERFACE);
        poll("the end of the cluster's machine", Duration::from_secs(60), || {
            Ok((!process.exists() && !interface.exists()).then_some(()))
        })
    }
}

fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
