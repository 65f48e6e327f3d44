//! A GPU whose memory others hold. It takes a real one: `TRELLIS_TEST_DEVICE=cuda cargo test --test full_device -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what was left, and what could be made with it")]

use std::ops::ControlFlow;

use tch::{Device, Kind, Tensor};
use trellis::device::DeviceChoice;
use trellis::pipeline::{Asset, Input, LoadOptions, Options, Outputs, Request, StageOptions};
use trellis::{Error, Pipeline, Result, gpu};
use trellis_fixtures::Models;

/// Requests of the batch.
const BATCH: u64 = 8;
/// The memory that is given back at a time. Less would be cut from what libtorch's allocator keeps for small tensors.
const BLOCK: i64 = 12 << 20;

/// Memory that is taken until nothing is left.
fn fill(device: Device) -> Vec<Tensor> {
    let block = |bytes: i64| Tensor::f_empty([bytes], (Kind::Uint8, device)).ok();
    let blocks = |bytes| std::iter::from_fn(move || block(bytes));
    blocks(64 * BLOCK).collect::<Vec<_>>().into_iter().chain(blocks(BLOCK)).collect()
}

fn request(seed: u64) -> Request {
    let stage = StageOptions { steps: Some(2), cfg_strength: None };
    let outputs = Outputs { mesh: false, gaussians: true, radiance_field: false };
    let options =
        Options { seed, sparse_structure: stage, structured_latent: stage, outputs, ..Options::default() };
    Request { input: Input::Text("a chair".into()), options }
}

fn generate(pipeline: &Pipeline, requests: &[Request]) -> Vec<Result<Vec<Asset>>> {
    pipeline.generate_batch(&requests.iter().collect::<Vec<_>>(), &mut |_| ControlFlow::Continue(()))
}

#[test]
#[ignore = "needs a GPU of which it takes all memory"]
fn a_batch_is_made_in_parts_where_memory_is_short_and_its_pipeline_outlives_a_full_device() {
    let device = DeviceChoice::Cuda(0).resolve().unwrap();
    let free = || gpu::memory(device).unwrap().free;
    let options = LoadOptions { device: DeviceChoice::Cuda(0), ..LoadOptions::default() };
    let pipeline = Pipeline::load(&Models::new().unwrap().text(), options).unwrap();
    let requests: Vec<Request> = (0..BATCH).map(request).collect();
    // What is loaded and planned only once is there from here on.
    drop(generate(&pipeline, &requests[..1]));
    let before = free();
    let expected = generate(&pipeline, &requests);
    let need = before - free();

    let mut ballast = fill(device);
    let mut released = 0;
    let made = loop {
        let results = generate(&pipeline, &requests);
        let missing: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
        println!("{} MiB given back: {} of {BATCH} made", released >> 20, results.len() - missing.len());
        assert!(missing.iter().all(|error| matches!(error, Error::OutOfMemory(_))), "{missing:?}");
        if missing.is_empty() {
            break results;
        }
        let Some(block) = ballast.pop() else { panic!("nothing is taken any more, and yet: {missing:?}") };
        released += block.numel() as u64;
    };
    assert!(released > 0, "the device was not full");
    println!("together they take {} MiB; {} were enough", need >> 20, released >> 20);
    assert!(released < need, "it was made at once");
    for (made, expected) in made.iter().zip(&expected) {
        let splats = |result: &Result<Vec<Asset>>| result.as_ref().unwrap()[0].gaussians.clone();
        assert!(splats(made) == splats(expected), "another asset");
    }
}
