//! A program that runs beside this one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The system's unit of the time that a process has used: a hundredth of a second on every Linux that there is.
const TICK: Duration = Duration::from_millis(10);

/// A running program. Killed when dropped, and when the thread that started it ends in whatever way.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it, with what it says in the file `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let name = command.get_program();
        let mut started = Command::new("setpriv");
        started.args(["--pdeathsig", "KILL", "--"]).arg(name).args(command.get_args());
        started.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let child = started.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn();
        let child = child.with_context(|| format!("cannot start {}", name.display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Ends it as SIGKILL does.
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks it to end, as SIGTERM does.
    ///
    /// # Errors
    /// When it is gone.
    pub fn terminate(&self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        Ok(rustix::process::kill_process(pid, rustix::process::Signal::TERM)?)
    }

    /// What it said so far.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn log(&self) -> Result<String> {
        let log = std::fs::read(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// The memory that it holds now and the most that it held, in MiB.
    ///
    /// # Errors
    /// When it is gone.
    pub fn memory(&self) -> Result<(f64, f64)> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let mebibytes = |field: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let number = line.and_then(|line| line.split_whitespace().next());
            let kibibytes: f64 = number.with_context(|| format!("{path} has no {field}"))?.parse()?;
            Ok(kibibytes / 1024.0)
        };
        Ok((mebibytes("VmRSS:")?, mebibytes("VmHWM:")?))
    }

    /// The time that the processors have spent on it so far.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        // The second field is the program's name in brackets, whatever that holds; the 14th and 15th are user and system time.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let times: Vec<u32> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(TICK * times.iter().sum::<u32>())
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
