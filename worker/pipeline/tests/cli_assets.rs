//! What the command-line tool does with asset files and prompts: `convert`, `render`, `generate --text`, `variant`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use trellis::asset::formats::{self, Asset, AssetRef, Format};
use trellis::asset::{Gaussians, Mesh, Paint};
use trellis_fixtures::Models;

/// A folder to run the tool in, with `cube.glb` and `cloud.ply` in it.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.save("cube.glb", (&cube()).into(), Format::Glb);
        let cloud = Gaussians {
            positions: vec![[0.0; 3], [0.02, 0.0, 0.03]],
            harmonics: vec![[0.5; 3]; 2],
            opacities: vec![0.9; 2],
            scales: vec![[0.05; 3]; 2],
            rotations: vec![[1.0, 0.0, 0.0, 0.0]; 2],
        };
        desk.save("cloud.ply", (&cloud).into(), Format::Ply);
        desk
    }

    fn save(&self, name: &str, asset: AssetRef<'_>, format: Format) {
        let file = formats::write(asset, format, &formats::Options::default()).unwrap();
        fs::write(self.path(name), file).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Asset {
        let path = self.path(name);
        formats::read(&fs::read(&path).unwrap(), Format::of(&path).unwrap()).unwrap()
    }

    /// Runs the tool in the folder.
    fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trellis"));
        command.current_dir(&self.0).env_remove("TRELLIS_MODEL").args(arguments).output().unwrap()
    }

    /// Runs the tool with words, and with a model on the CPU where one is given; what it prints.
    fn succeed(&self, line: &str, model: Option<&Path>) -> String {
        let output = self.run(&words(line, model));
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the tool, which must end with this exit status and a message with these words.
    fn fail(&self, line: &str, model: Option<&Path>, code: i32, said: &[&str]) {
        let output = self.run(&words(line, model));
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{line}: {message}");
        assert!(said.iter().all(|part| message.contains(part)), "{line}: {message} lacks some of {said:?}");
        assert!(message.starts_with("error: ") && output.stdout.is_empty(), "{line}: {message}");
    }
}

fn words(line: &str, model: Option<&Path>) -> Vec<std::ffi::OsString> {
    let model = model
        .into_iter()
        .flat_map(|model| ["--device".into(), "cpu".into(), "--model".into(), model.as_os_str().to_owned()]);
    line.split(' ').map(|word| word.replace('_', " ").into()).chain(model).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn cube() -> Mesh {
    let vertices =
        (0..8).map(|corner| [corner & 1, corner >> 1 & 1, corner >> 2].map(|bit| bit as f32 * 0.6 - 0.3));
    let sides = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]];
    let faces = sides.iter().flat_map(|&[a, b, c, d]| [[a, b, c], [a, c, d]]);
    Mesh::new(vertices.collect(), faces.collect(), Paint::Vertices(vec![[0.8, 0.4, 0.2]; 8]))
}

fn faces(asset: &Asset) -> usize {
    match asset {
        Asset::Mesh(mesh) => mesh.faces.len(),
        Asset::Gaussians(_) => 0,
    }
}

#[test]
fn a_mesh_goes_from_format_to_format_with_all_its_faces() {
    let desk = Desk::new();
    let chain = ["cube.glb", "cube.zip", "cube.ply", "cube.obj", "cube.stl", "again.glb"];
    for step in chain.windows(2) {
        let said = desk.succeed(&format!("convert {} {}", step[0], step[1]), None);
        assert!(said.starts_with(&format!("{}: ", step[1])) && said.contains("12 faces"), "{said}");
    }
    assert_eq!(faces(&desk.read("again.glb")), 12);
    desk.succeed("convert cube.glb cube --to usdz", None);
    assert!(fs::read(desk.path("cube")).unwrap().starts_with(b"PK"));
    assert!(desk.succeed("convert cube.glb few.glb --faces 6", None).contains(" faces"));
    assert!(faces(&desk.read("few.glb")) < 12);
}

#[test]
fn gaussians_go_from_format_to_format() {
    let desk = Desk::new();
    for step in ["cloud.ply", "cloud.splat", "cloud.spz", "again.ply"].windows(2) {
        assert!(desk.succeed(&format!("convert {} {}", step[0], step[1]), None).contains("2 Gaussians"));
    }
    assert!(matches!(desk.read("again.ply"), Asset::Gaussians(cloud) if cloud.positions.len() == 2));
}

#[test]
fn what_cannot_be_converted_is_named_with_what_to_do() {
    let desk = Desk::new();
    fs::write(desk.path("empty.glb"), b"").unwrap();
    fs::create_dir(desk.path("folder.glb")).unwrap();
    let usable = "glb, obj, ply, splat, spz, stl, usdz";
    let cases: [(&str, i32, &[&str]); 12] = [
        ("convert nowhere.glb out.ply", 1, &["nowhere.glb: No such file"]),
        ("convert folder.glb out.ply", 1, &["folder.glb: Is a directory"]),
        ("convert empty.glb out.ply", 2, &["empty.glb: the glb file cannot be read"]),
        ("convert cube.png out.ply", 1, &["cube.png"]),
        ("convert cube.glb out.xyz", 2, &["out.xyz", usable, "--to"]),
        ("convert cube.glb out --to xyz", 2, &["--to", usable]),
        ("convert cube.glb no/such/out.ply", 2, &["no/such/out.ply", "make it first"]),
        ("convert cube.glb folder.glb", 2, &["folder.glb: is a folder; name a file in it"]),
        ("convert cube.glb out.splat", 2, &["a splat file cannot hold a mesh", "glb"]),
        ("convert cloud.ply out.glb", 2, &["a glb file cannot hold Gaussians", "splat"]),
        ("convert cloud.ply out.splat --simplify 0.5", 2, &["only meshes can be simplified"]),
        ("convert cube.glb out.ply --simplify 1", 2, &["--simplify", "below 1"]),
    ];
    for (line, code, said) in cases {
        desk.fail(line, None, code, said);
    }
    assert!(!desk.path("out.ply").exists());
}

#[test]
fn pictures_are_as_large_and_as_many_as_asked() {
    let desk = Desk::new();
    for (line, file) in [
        ("render cube.glb cube.png --size 48", "cube.png"),
        ("render cube.glb CUBE.PNG --size 48 --azimuth -30 --elevation -10", "CUBE.PNG"),
        ("render cloud.ply cloud.webp --size 48", "cloud.webp"),
    ] {
        assert_eq!(desk.succeed(line, None).trim(), file);
        let picture = image::load_from_memory(&fs::read(desk.path(file)).unwrap()).unwrap().to_rgba8();
        assert_eq!(picture.dimensions(), (48, 48), "{line}");
        assert!(picture.get_pixel(24, 24).0[3] > 100 && picture.get_pixel(0, 0).0[3] < 30, "{line}");
    }
    desk.succeed("render cube.glb frames --size 16 --frames 5", None);
    assert_eq!(fs::read_dir(desk.path("frames")).unwrap().count(), 5);
    desk.succeed("render cube.glb turn.webp --size 16 --frames 5", None);
    let turn = fs::read(desk.path("turn.webp")).unwrap();
    assert_eq!(turn.windows(4).filter(|name| name == b"ANMF").count(), 5);
}

#[test]
fn what_cannot_be_drawn_is_named_with_what_to_do() {
    let desk = Desk::new();
    fs::create_dir(desk.path("folder.png")).unwrap();
    let cases: [(&str, i32, &[&str]); 8] = [
        ("render nowhere.glb out.png", 1, &["nowhere.glb: No such file"]),
        ("render cube.glb out.jpg", 2, &["out.jpg", ".png or .webp"]),
        ("render cube.glb no/such/out.png", 2, &["make it first"]),
        ("render cube.glb folder.png", 2, &["folder.png: is a folder"]),
        ("render cube.glb out.png --frames 4", 2, &["a PNG does not move", ".webp"]),
        ("render cube.glb out.png --size 0", 2, &["1..=4096"]),
        ("render cube.glb out.png --elevation 91", 2, &["between -90 and 90"]),
        ("render cube.glb out.webp --frames 2 --fps 0", 2, &["1 to 100 frames a second"]),
    ];
    for (line, code, said) in cases {
        desk.fail(line, None, code, said);
    }
}

#[test]
fn a_text_model_makes_what_a_prompt_says_and_covers_a_mesh_anew() {
    let (desk, models) = (Desk::new(), Models::new().unwrap());
    let text = models.text();
    let runs = [
        ("generate --text an_oak_chair -o chair.glb", "chair.glb"),
        ("variant cube.glb --text of_gold -o golden.glb", "golden.glb"),
    ];
    for (line, file) in runs {
        let line = format!("{line} --steps 1 --seed 5 --texture-size 0 --json");
        let report: serde_json::Value = serde_json::from_str(&desk.succeed(&line, Some(&text))).unwrap();
        let asset = &report["assets"][0];
        assert_eq!((&report["seed"], &asset["files"][0]["path"]), (&5.into(), &file.into()), "{report}");
        assert_eq!(asset["files"][0]["bytes"], fs::metadata(desk.path(file)).unwrap().len());
        assert_eq!(asset["faces"], faces(&desk.read(file)));
        assert!(asset["voxels"].as_u64().unwrap() > 0, "{report}");
    }
}

#[test]
fn prompts_and_models_that_do_not_fit_are_refused_with_what_to_do() {
    let (desk, models) = (Desk::new(), Models::new().unwrap());
    let long = "a".repeat(10_001);
    let (text, image) = (models.text(), models.image());
    let cases: [(String, &Path, i32, &str); 8] = [
        ("generate --text a_chair -o out.glb".into(), &image, 2, "load a TRELLIS text model"),
        (format!("generate --text {long} -o out.glb"), &text, 2, "10000"),
        ("generate cube.glb -o out.glb".into(), &image, 2, "cube.glb: the image is not a PNG"),
        (
            "generate --text a_chair -o out.glb --preview out.jpg".into(),
            &text,
            2,
            "--preview writes .png files",
        ),
        ("generate --text a_chair -o out.glb --simplify 2".into(), &text, 2, "below 1"),
        ("generate --text a_chair -o out.glb --texture-size 3".into(), &text, 2, "16 to 8192 texels"),
        ("variant cube.glb --text of_gold -o out.glb".into(), &image, 2, "load a TRELLIS text model"),
        ("variant nowhere.glb --text of_gold -o out.glb".into(), &text, 1, "nowhere.glb: No such file"),
    ];
    for (line, model, code, said) in cases {
        desk.fail(&line, Some(model), code, &[said]);
    }
    let file = desk.path("cube.glb");
    desk.fail("generate --text a_chair -o out.glb", Some(&file), 2, &["is no model folder"]);
    assert!(!desk.path("out.glb").exists());
}
