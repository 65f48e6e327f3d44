//! The image that the Dockerfiles start from.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::buildah;
use crate::command::{output, run};
use crate::paths;
use crate::steps::say;

/// The base of the project's images.
pub(super) const NAME: &str = "debian:bookworm-slim";
const FULL_NAME: &str = "docker.io/library/debian:bookworm-slim";
const PULL_LIMIT: Duration = Duration::from_secs(120);

/// Sees to it that buildah has the base: pulled where a registry can be reached, else made from Debian's packages and given the same name,
/// so that the same Dockerfile serves everywhere.
pub(super) fn provide() -> Result<()> {
    if run(buildah().args(["inspect", "--type", "image", FULL_NAME])).is_ok() || pull() {
        return Ok(());
    }
    say(format!("No image registry can be reached: making {NAME} from Debian's packages ..."));
    let archive = paths::cache().join("images/base.tar");
    let slim = ["doc", "info", "locale", "man"]
        .map(|folder| format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"));
    run(Command::new("mmdebstrap").args(["--quiet", "--variant=apt"]).args(slim).arg("bookworm").arg(&archive)).context(
        "cannot make the base image; on Debian: apt-get install mmdebstrap, and check that Debian's mirror can be reached",
    )?;
    let container = output(buildah().args(["from", "scratch"]))?;
    let container = container.trim();
    run(buildah().args(["add", "--quiet", container]).arg(&archive).arg("/"))?;
    run(buildah().args([
        "config",
        "--cmd",
        "bash",
        "--env",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        container,
    ]))?;
    run(buildah().args(["commit", "--quiet", "--rm", container, FULL_NAME]))?;
    Ok(fs::remove_file(archive)?)
}

fn pull() -> bool {
    let limit = PULL_LIMIT.as_secs().to_string();
    let buildah = buildah();
    let mut pull = Command::new("timeout");
    pull.arg(limit)
        .arg(buildah.get_program())
        .args(buildah.get_args())
        .args(["pull", "--quiet", "--retry", "0", FULL_NAME]);
    pull.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
