//! The command-line tool, run as a program.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FIXTURE: &str = concat!(env!("TRELLIS_SOURCES"), "worker/pipeline/tests/golden/15_end2end");

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
        let more = ["--steps", "2", "--seed", seed, "--texture-size", "128", "--json", "--preview"];
        let more = [&more[..], &[png.to_str().unwrap()]].concat();
        let output = generate(&fixture("input.png"), &fixture("model"), &glb, &more);
        assert!(output.status.success(), "{}", stderr(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let (glb, png) = (std::fs::read(glb).unwrap(), std::fs::read(png).unwrap());
        let asset = &report["assets"][0];
        assert_eq!(asset["files"][0]["bytes"], glb.len());
        assert!(asset["faces"].as_u64().unwrap() > 0, "{report}");
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

/// A copy of the small model, with the network that removes backgrounds in it.
fn model_with_u2net() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["pipeline.json", "ckpts"] {
        std::os::unix::fs::symlink(fixture("model").join(name), folder.path().join(name)).unwrap();
    }
    std::fs::copy(background("u2net.onnx"), folder.path().join("u2net.onnx")).unwrap();
    folder
}

fn background(name: &str) -> PathBuf {
    Path::new(env!("TRELLIS_SOURCES")).join("worker/pipeline/tests/background").join(name)
}

#[test]
fn the_background_of_an_opaque_photo_is_removed_where_the_model_folder_has_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("lamp.glb");
    let refused = generate(&background("lamp.png"), &fixture("model"), &output, &[]);
    assert_eq!(refused.status.code(), Some(2));
    let message = stderr(&refused);
    assert!(
        message.contains("u2net.onnx") && message.contains("or send an image with transparency"),
        "{message}"
    );

    let made = generate(&background("lamp.png"), model_with_u2net().path(), &output, &["--steps", "1"]);
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(output.exists());
}

#[test]
fn each_sample_is_written_in_each_format_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let turntable = folder.path().join("turn.webp");
    let more =
        ["--steps", "1", "--samples", "2", "--formats", "glb,stl,splat", "--texture-size", "64", "--json"];
    let more = [&more[..], &["--turntable", turntable.to_str().unwrap()]].concat();
    let output = generate(&fixture("input.png"), &fixture("model"), &folder.path().join("chair"), &more);
    assert!(output.status.success(), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for sample in 0..2 {
        let files = report["assets"][sample]["files"].as_array().unwrap();
        let names = ["chair-N.glb", "chair-N.stl", "chair-N.splat", "turn-N.webp"];
        assert_eq!(files.len(), names.len(), "{report}");
        for (file, name) in files.iter().zip(names) {
            let path = folder.path().join(name.replace('N', &sample.to_string()));
            assert_eq!(file["path"], path.to_str().unwrap());
            assert_eq!(file["bytes"], std::fs::metadata(&path).unwrap().len());
        }
    }
}

#[test]
fn the_exit_status_tells_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (photo, model) = (fixture("input.png"), fixture("model"));
    let glb = folder.path().join("out.glb");
    let cases = [
        // An unknown format shows before the model is loaded.
        (generate(&photo, Path::new("/nowhere"), &folder.path().join("out.xyz"), &[]), 2, "out.xyz"),
        (generate(&photo, Path::new("/nowhere"), &glb, &[]), 2, "/nowhere"),
        (generate(&photo, &model, &glb, &["--max-memory", "much"]), 2, "24GiB"),
        (generate(&photo, &model, &glb, &["--max-memory", "1k"]), 4, "memory"),
        (generate(&photo, &model, &glb, &["--steps", "0"]), 2, "steps"),
        (generate(&photo, &model, &folder.path().join("no/such/folder.glb"), &[]), 2, "make it first"),
        (trellis(&[&"generate", &"--text", &"a chair", &"--model", &model, &"-o", &glb]), 2, "image"),
        (trellis(&[&"generate", &"--model", &model, &"-o", &glb]), 2, "PHOTOS"),
    ];
    for (output, code, said) in cases {
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(said), "{said}: {}", stderr(&output));
    }
    assert!(!glb.exists());
}

#[test]
fn a_variant_needs_a_mesh_and_a_text_model() {
    let folder = tempfile::tempdir().unwrap();
    let (glb, splat) = (folder.path().join("shape.glb"), folder.path().join("shape.splat"));
    let made = generate(
        &fixture("input.png"),
        &fixture("model"),
        &glb,
        &["--steps", "1", "--texture-size", "0", "-o", splat.to_str().unwrap()],
    );
    assert!(made.status.success(), "{}", stderr(&made));
    let variant = |mesh: &Path| {
        let output = folder.path().join("variant.glb");
        let model = fixture("model");
        trellis(&[&"variant", &mesh, &"--text", &"of gold", &"--model", &model, &"-o", &output])
    };
    for (mesh, said) in [(&glb, "text"), (&splat, "name a file with a mesh")] {
        let refused = variant(mesh);
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains(said), "{}", stderr(&refused));
    }
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = trellis(&[&"completions", &shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("turntable"), "{shell}");
    }
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
    assert!(stderr(&lacking).contains("1 of 7 models cannot be used"), "{}", stderr(&lacking));

    let none = trellis(&[&"inspect", &"/"]);
    assert!(stderr(&none).contains("it has no pipeline.json"), "{}", stderr(&none));
}
