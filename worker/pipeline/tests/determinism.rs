//! The same request gives the same bytes, whatever the machine grants.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::path::Path;

use trellis::Pipeline;
use trellis::asset::Mesh;
use trellis::device::DeviceChoice;
use trellis::pipeline::{Input, LoadOptions, Options, Request};

/// What is made of the example photo in a process that starts out with `threads` threads.
fn generated_with(threads: i32) -> Mesh {
    tch::set_num_threads(threads);
    let root = Path::new(env!("TRELLIS_SOURCES"));
    let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
    let pipeline =
        Pipeline::load(&root.join("worker/pipeline/tests/golden/15_end2end/model"), options).unwrap();
    let photo = std::fs::read(root.join("examples/photo/photo.png")).unwrap();
    let photo = trellis::image::decode(&photo).unwrap();
    let request = Request { input: Input::Images(vec![photo]), options: Options::default() };
    let assets = pipeline.generate(&request, &mut |_| ControlFlow::Continue(())).unwrap();
    assets.into_iter().next().unwrap().mesh.unwrap()
}

#[test]
fn one_thread_and_sixteen_make_the_same_mesh() {
    let alone = generated_with(1);
    for threads in [3, 16] {
        assert!(generated_with(threads) == alone, "{threads} threads make another mesh than one");
    }
}
