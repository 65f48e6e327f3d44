//! Plays a file of `walk/` in Chromium.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use trellis_e2e::{node, paths};

use crate::site::Site;

const DEADLINE: Duration = Duration::from_secs(240);

/// Where Debian's package is. `CHROMIUM` names another one.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Plays `walk/<name>.test.mjs` against the site, and panics with what it said where it does not end well.
pub(crate) async fn run(name: &str, site: &Site) {
    let folder = paths::source().join("e2e/tests/page");
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| CHROMIUM.into());
    assert!(Path::new(&chromium).exists(), "Chromium is missing at {chromium}: `make setup` installs it");
    let packages = packages(&folder).await;
    let mut walk = with_node("node").await;
    walk.args(["--test", "--test-reporter=spec"])
        .arg(folder.join("walk").join(format!("{name}.test.mjs")))
        .env("PAGE_URL", &site.service.url)
        .env("PAGE_KEY", &site.service.alice)
        .env("PAGE_PHOTO", trellis_e2e::photo::photo_file())
        .env("PAGE_PACKAGES", packages)
        .env("PAGE_CHROMIUM", chromium);
    let Output { status, stdout, stderr } =
        tokio::time::timeout(DEADLINE, ended(walk)).await.expect("the walk does not end");
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{said}");
    eprintln!("{said}");
}

/// The folder of the npm packages that `package-lock.json` pins, installed once, outside of the source tree.
async fn packages(folder: &Path) -> PathBuf {
    let lock = std::fs::read(folder.join("package-lock.json")).unwrap();
    let packages = paths::cache().join(format!("page-{}", hex::encode(&Sha256::digest(lock)[..6])));
    std::fs::create_dir_all(&packages).unwrap();
    // Tests that run side by side install them one after the other.
    let guard = File::create(packages.join("lock")).unwrap();
    let guard = tokio::task::spawn_blocking(move || guard.lock().map(|()| guard)).await.unwrap().unwrap();
    if !packages.join("complete").exists() {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(folder.join(file), packages.join(file)).unwrap();
        }
        let mut npm = with_node("npm").await;
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&packages);
        let Output { status, stderr, .. } = ended(npm).await;
        assert!(
            status.success(),
            "npm cannot install the page's test tools: {}",
            String::from_utf8_lossy(&stderr)
        );
        std::fs::write(packages.join("complete"), []).unwrap();
    }
    drop(guard);
    packages
}

/// A program of the project's own Node.js.
async fn with_node(program: &str) -> Command {
    let path = tokio::task::spawn_blocking(node::path).await.unwrap().unwrap();
    let mut command = Command::new(program);
    command.env("PATH", path);
    command
}

/// Runs a program to its end; it goes with the test where that ends first.
async fn ended(mut command: Command) -> Output {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let program = command.as_std().get_program().to_owned();
    command.output().await.unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()))
}
