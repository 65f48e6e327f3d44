//! The same request gives the same bytes, whatever the machine grants.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

/// The file that the tool makes of the example photo when libtorch and rayon are told to use `threads` threads.
fn generated_with(threads: &str, folder: &Path) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = folder.join(format!("{threads}.glb"));
    let made = Command::new(env!("CARGO_BIN_EXE_trellis"))
        .args(["generate", "--device", "cpu", "--model"])
        .arg(root.join("tests/golden/15_end2end/model"))
        .arg(root.join("../../examples/photo/photo.png"))
        .arg("--output")
        .arg(&output)
        .env("OMP_NUM_THREADS", threads)
        .env("RAYON_NUM_THREADS", threads)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::read(output).unwrap()
}

#[test]
fn one_thread_and_many_make_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let alone = generated_with("1", folder.path());
    for threads in ["3", "16"] {
        assert!(
            generated_with(threads, folder.path()) == alone,
            "{threads} threads make another file than one"
        );
    }
}
