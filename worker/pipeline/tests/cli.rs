//! The command-line tool, run as a program.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/15_end2end");

fn trellis(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trellis"));
    arguments.iter().fold(&mut command, |command, argument| command.arg(argument)).output().unwrap()
}

fn generate(photo: &Path, model: &Path, output: &Path, more: &[&str]) -> Output {
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
        vec![&"generate", &photo, &"--model", &model, &"-o", &output, &"--device", &"cpu"];
    arguments.extend(more.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
    trellis(&arguments)
}

fn fixture(path: &str) -> PathBuf {
    Path::new(FIXTURE).join(path)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_same_request_twice_gives_the_same_bytes_and_another_seed_others() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, seed: &str| {
        let (glb, png) =
            (folder.path().join(format!("{name}.glb")), folder.path().join(format!("{name}.png")));
        let more = ["--steps", "2", "--seed", seed, "--json", "--preview", png.to_str().unwrap()];
        let output = generate(&fixture("input.png"), &fixture("model"), &glb, &more);
        assert!(output.status.success(), "{}", stderr(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let (glb, png) = (std::fs::read(glb).unwrap(), std::fs::read(png).unwrap());
        assert_eq!(report["bytes"], glb.len());
        assert!(report["faces"].as_u64().unwrap() > 0, "{report}");
        assert!(image::load_from_memory(&png).is_ok());
        (glb, png)
    };
    let first = run("first", "42");
    assert!(first == run("second", "42"), "files of two equal requests differ");
    assert!(first.0 != run("third", "43").0, "the seed changes nothing");
}

#[test]
fn a_bad_image_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (photo, output) = (folder.path().join("photo.png"), folder.path().join("out.glb"));
    std::fs::write(&photo, &std::fs::read(fixture("input.png")).unwrap()[..100]).unwrap();
    let result = generate(&photo, &fixture("model"), &output, &[]);
    assert_eq!(result.status.code(), Some(2));
    assert!(
        stderr(&result).starts_with(&format!("error: {}: the image", photo.display())),
        "{}",
        stderr(&result)
    );
    assert!(!output.exists());
}

#[test]
fn inspect_says_what_a_folder_lacks() {
    let whole = trellis(&[&"inspect", &fixture("model")]);
    assert!(whole.status.success(), "{}", stderr(&whole));
    let text = String::from_utf8(whole.stdout).unwrap();
    assert!(text.contains("SparseStructureFlowModel") && !text.contains("unusable"), "{text}");

    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("ckpts")).unwrap();
    for entry in std::fs::read_dir(fixture("model/ckpts")).unwrap().map(Result::unwrap) {
        if entry.file_name() != "ss_dec_tiny.safetensors" {
            std::fs::copy(entry.path(), folder.path().join("ckpts").join(entry.file_name())).unwrap();
        }
    }
    std::fs::copy(fixture("model/pipeline.json"), folder.path().join("pipeline.json")).unwrap();
    let lacking = trellis(&[&"inspect", &folder.path()]);
    assert_eq!(lacking.status.code(), Some(2));
    let text = String::from_utf8(lacking.stdout.clone()).unwrap();
    assert!(text.contains("ss_dec_tiny.safetensors"), "{text}");
    assert!(stderr(&lacking).contains("1 of 5 models cannot be used"), "{}", stderr(&lacking));

    let none = trellis(&[&"inspect", &"/"]);
    assert!(stderr(&none).contains("it has no pipeline.json"), "{}", stderr(&none));
}
