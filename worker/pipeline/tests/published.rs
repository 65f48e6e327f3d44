//! Encoders as they are published for the library `transformers` compute what it computes. `published/make.py` made the fixtures.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use tch::{Device, Tensor};
use trellis::clip::ClipTextModel;
use trellis::dinov2::DinoV2;
use trellis::weights::{Checkpoint, Placement, TensorFile};

fn file(model: &str, name: &str) -> PathBuf {
    Path::new(env!("TRELLIS_SOURCES")).join("worker/pipeline/tests/published").join(model).join(name)
}

fn checkpoint(model: &str) -> Checkpoint {
    Checkpoint::from_files(&file(model, "config.json"), &file(model, "model.safetensors")).unwrap()
}

fn expected(model: &str, name: &str) -> Tensor {
    TensorFile::open(&file(model, "expected.safetensors")).unwrap().tensor(name).unwrap().unwrap()
}

fn assert_close(found: &Tensor, expected: &Tensor) {
    let largest = expected.abs().max().double_value(&[]);
    let apart = (found - expected).abs().max().double_value(&[]);
    assert!(apart <= 2e-6 * largest, "{apart} apart, where the largest value is {largest}");
}

#[test]
fn the_image_encoder_loads_under_its_published_names() {
    let encoder = DinoV2::load(&checkpoint("dinov2"), Placement::float(Device::Cpu)).unwrap();
    let features = encoder.features(&expected("dinov2", "image")).unwrap();
    assert_close(&features, &expected("dinov2", "features"));
}

#[test]
fn the_text_encoder_loads_from_a_whole_clip() {
    let encoder = ClipTextModel::load(&checkpoint("clip"), Placement::float(Device::Cpu)).unwrap();
    let features = encoder.forward(&expected("clip", "tokens")).unwrap();
    assert_close(&features, &expected("clip", "features"));
}
