//! Parity with the reference: a stage's fixture folder, and comparisons that are printed as rows of a table.
//!
//! `TRELLIS_GOLDEN` names the folder of fixtures (`tests/golden` unless set); where there is none, tests fail. A stage
//! that the folder lacks is named as skipped. `TRELLIS_TEST_DEVICE=cuda` runs the models on the GPU, in f32.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of this module")]
#![allow(clippy::print_stdout, reason = "rows of the parity table")]

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use trellis::device::DeviceChoice;
use trellis::weights::{Checkpoint, Placement, TensorFile};

/// One stage's folder of fixtures.
pub struct Stage {
    name: String,
    folder: PathBuf,
    meta: Meta,
    /// The device to run models on.
    pub device: Device,
    failures: RefCell<Vec<String>>,
    compared: Cell<usize>,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default)]
    tolerance: std::collections::BTreeMap<String, Tolerance>,
}

#[derive(Deserialize)]
struct Tolerance {
    suggested_atol_fp32: f64,
    max_abs_diff_fp16_emulated: Option<f64>,
}

impl Stage {
    /// Opens the stage in folder `name`, or says that it is skipped.
    pub fn open(name: &str) -> Option<Self> {
        let root = std::env::var_os("TRELLIS_GOLDEN").map_or_else(
            || Path::new(env!("TRELLIS_SOURCES")).join("worker/pipeline/tests/golden"),
            PathBuf::from,
        );
        assert!(root.is_dir(), "no fixtures at {}: set TRELLIS_GOLDEN to a folder of them", root.display());
        let folder = root.join(name);
        if !folder.is_dir() {
            println!("parity {name:<34} skipped: {} does not hold it", root.display());
            return None;
        }
        let meta = match std::fs::read_to_string(folder.join("meta.json")) {
            Ok(meta) => serde_json::from_str(&meta).expect("meta.json is as documented"),
            Err(_) => Meta::default(),
        };
        let name = name.to_owned();
        Some(Self {
            name,
            folder,
            meta,
            device: device(),
            failures: RefCell::default(),
            compared: Cell::new(0),
        })
    }

    /// A file of the stage.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The stage's model: `config.json` and `weights.safetensors`.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::from_files(&self.path("config.json"), &self.path("weights.safetensors"))
            .expect("a checkpoint")
    }

    /// The test device, in f32.
    pub fn placement(&self) -> Placement {
        Placement::float(self.device)
    }

    /// The test device, with torsos in f16.
    pub fn half(&self) -> Placement {
        Placement { torso: Kind::Half, ..self.placement() }
    }

    /// A tensor of `inputs.safetensors`, on the test device.
    pub fn input(&self, name: &str) -> Tensor {
        self.tensor("inputs.safetensors", name).to_device(self.device)
    }

    /// A tensor of `outputs.safetensors`.
    pub fn output(&self, name: &str) -> Tensor {
        self.tensor("outputs.safetensors", name)
    }

    /// A tensor of any safetensors file of the stage.
    pub fn tensor(&self, file: &str, name: &str) -> Tensor {
        let file = TensorFile::open(&self.path(file)).expect("a safetensors file");
        file.tensor(name).expect("a readable tensor").unwrap_or_else(|| panic!("{} has no {name}", self.name))
    }

    /// Compares with the output `name`, within the tolerance that `meta.json` states for it.
    pub fn close(&self, name: &str, actual: &Tensor) {
        let tolerance = self
            .meta
            .tolerance
            .get(name)
            .unwrap_or_else(|| panic!("{} states no tolerance for {name}", self.name));
        self.within(name, actual, &self.output(name), tolerance.suggested_atol_fp32);
    }

    /// Compares what a torso in f16 gives: within how far the reference's own f16 is from its f32, and on the CPU, where there are no
    /// kernels that round once for several operations, half as much again.
    pub fn close_in_half(&self, name: &str, actual: &Tensor) {
        let tolerance = self.meta.tolerance.get(name).and_then(|stated| stated.max_abs_diff_fp16_emulated);
        let tolerance = tolerance.unwrap_or_else(|| panic!("{} states no f16 figure for {name}", self.name));
        let factor = if self.device == Device::Cpu { 1.5 } else { 1.0 };
        self.within(&format!("{name} in f16"), actual, &self.output(name), factor * tolerance);
    }

    /// Compares with the output `name` exactly.
    pub fn exact(&self, name: &str, actual: &Tensor) {
        self.within(name, actual, &self.output(name), 0.0);
    }

    /// Compares two tensors and prints a row. Failures are raised together when the stage is dropped.
    pub fn within(&self, name: &str, actual: &Tensor, expected: &Tensor, tolerance: f64) {
        let actual = actual.to_device(Device::Cpu);
        let (error, verdict) = if actual.size() != expected.size() {
            (f64::NAN, format!("shape {:?}, expected {:?}", actual.size(), expected.size()))
        } else if expected.numel() == 0 {
            (0.0, "ok".to_owned())
        } else {
            let error =
                (actual.to_kind(Kind::Double) - expected.to_kind(Kind::Double)).abs().max().double_value(&[]);
            (error, if error <= tolerance { "ok".to_owned() } else { "TOO FAR".to_owned() })
        };
        self.record(
            name,
            &format!("max error {error:<10.3e} tolerance {tolerance:<9.1e} {verdict}"),
            verdict == "ok",
        );
    }

    /// Prints a row for something that is right or wrong, without a number.
    pub fn holds<E: std::fmt::Display>(&self, name: &str, result: Result<(), E>) {
        match result {
            Ok(()) => self.record(name, "ok", true),
            Err(error) => self.record(name, &error.to_string(), false),
        }
    }

    fn record(&self, name: &str, finding: &str, ok: bool) {
        let row = format!("parity {:<34} {name:<32} {finding}", self.name);
        println!("{row}");
        self.compared.set(self.compared.get() + 1);
        if !ok {
            self.failures.borrow_mut().push(row);
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let failures = self.failures.borrow();
            assert!(failures.is_empty(), "differs from the reference:\n{}", failures.join("\n"));
            assert!(self.compared.get() > 0, "{} compared nothing", self.name);
        }
    }
}

/// Tests run in parallel, so each keeps libtorch to one thread.
fn device() -> Device {
    let choice = std::env::var("TRELLIS_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    let device = choice.parse::<DeviceChoice>().and_then(DeviceChoice::resolve).expect("TRELLIS_TEST_DEVICE");
    tch::set_num_threads(1);
    device
}

/// A file of `shapes` whose data is a hole: names and shapes of a released checkpoint without its gigabytes.
pub fn hollow_checkpoint(folder: &Path, config: &Value, params: &Value) -> Checkpoint {
    let mut end = 0;
    let mut header = serde_json::Map::new();
    for (name, param) in params.as_object().expect("a readable fixture") {
        let (dtype, width) = if param[1] == "F16" { ("F16", 2) } else { ("F32", 4) };
        let start = end;
        end += width
            * param[0]
                .as_array()
                .expect("a readable fixture")
                .iter()
                .map(|size| size.as_u64().expect("a readable fixture"))
                .product::<u64>();
        header.insert(name.clone(), json!({"dtype": dtype, "shape": param[0], "data_offsets": [start, end]}));
    }
    let mut header = serde_json::to_vec(&header).expect("a readable fixture");
    header.resize(header.len().next_multiple_of(8), b' ');
    let (config_path, weights_path) = (folder.join("m.json"), folder.join("m.safetensors"));
    let mut file = File::create(&weights_path).expect("a readable fixture");
    file.write_all(&(header.len() as u64).to_le_bytes()).expect("a readable fixture");
    file.write_all(&header).expect("a readable fixture");
    file.set_len(8 + header.len() as u64 + end).expect("a readable fixture");
    std::fs::write(&config_path, config.to_string()).expect("a readable fixture");
    Checkpoint::from_files(&config_path, &weights_path).expect("a readable fixture")
}

/// A JSON file.
pub fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a readable fixture")).expect("a readable fixture")
}
