//! Our kernels on a GPU in f16 against the same layers on the CPU in f32, at widths of each of their tilings. They run with
//! `TRELLIS_TEST_DEVICE=cuda` where the kernels are built; the small models of the fixtures are too narrow for most.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use tch::{Device, Kind, Tensor};
use trellis::device::{DeviceChoice, has_kernels};
use trellis::sparse::{Convolution, Grid, GroupNorm, SparseTensor};
use trellis::weights::{Checkpoint, Placement, Weights};

/// The GPU, if it is to be tested and kernels are there.
fn gpu() -> Option<Device> {
    let wanted = std::env::var("TRELLIS_TEST_DEVICE").is_ok_and(|device| device == "cuda");
    let device = wanted.then(|| DeviceChoice::Cuda(0).resolve().unwrap())?;
    has_kernels(device).then_some(device)
}

fn random(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

/// A checkpoint with these tensors in f32.
fn checkpoint(folder: &Path, tensors: &[(&str, Tensor)]) -> Checkpoint {
    let numbers: Vec<Vec<f32>> =
        tensors.iter().map(|(_, tensor)| Vec::try_from(tensor.flatten(0, -1)).unwrap()).collect();
    let views = tensors.iter().zip(&numbers).map(|((name, tensor), numbers)| {
        let shape = tensor.size().iter().map(|&side| side as usize).collect();
        (*name, TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(numbers)).unwrap())
    });
    std::fs::write(folder.join("m.safetensors"), serialize(views, None).unwrap()).unwrap();
    std::fs::write(folder.join("m.json"), r#"{"name": "Layer", "args": {}}"#).unwrap();
    Checkpoint::open(&folder.join("m")).unwrap()
}

/// Runs `layer` in f32 on the CPU and, twice, in f16 on the GPU.
fn compare(
    what: &str,
    feats: &Tensor,
    coords: &Tensor,
    layer: impl Fn(Placement, &SparseTensor) -> SparseTensor,
    gpu: Device,
) {
    let run = |placement: Placement| {
        let grid = Grid::new(coords.to_device(placement.device)).unwrap().subdivided().unwrap();
        let feats = feats.to_kind(placement.torso).to_device(placement.device);
        let result = layer(placement, &SparseTensor::new(grid, feats).unwrap());
        result.feats().to_kind(Kind::Float).to_device(Device::Cpu)
    };
    let half = Placement { torso: Kind::Half, ..Placement::float(gpu) };
    let (expected, first, second) = (run(Placement::float(Device::Cpu)), run(half), run(half));
    assert!(first.equal(&second), "{what}: other bytes the second time");
    let error = ((first - &expected) / (expected.abs() + 1.0)).abs().max().double_value(&[]);
    assert!(error < 1e-2, "{what}: off by {error}");
}

/// Voxels of two samples, some of them with all their neighbours.
fn voxels() -> Tensor {
    random(&[2, 5, 5, 5]).gt(-0.5).nonzero().to_kind(Kind::Int)
}

#[test]
fn convolutions_are_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    tch::manual_seed(6);
    let coords = voxels();
    for (inputs, outputs) in [(32, 192), (64, 96), (96, 96), (64, 32), (32, 40), (64, 512), (64, 128)] {
        let folder = tempfile::tempdir().unwrap();
        let weight = random(&[outputs, 3, 3, 3, inputs]) / (27.0 * inputs as f64).sqrt();
        let tensors = [("conv.weight", weight), ("conv.bias", random(&[outputs]))];
        let checkpoint = checkpoint(folder.path(), &tensors);
        let around = random(&[8 * coords.size()[0], outputs]);
        let layer = |placement: Placement, x: &SparseTensor| {
            let load = |weights: &Weights| Convolution::load(&weights.torso(), inputs, outputs);
            let around = around.to_kind(placement.torso).to_device(placement.device);
            checkpoint.build(placement, load).unwrap().forward_around(x, &around).unwrap()
        };
        let feats = random(&[8 * coords.size()[0], inputs]);
        compare(&format!("{inputs} to {outputs}"), &feats, &coords, layer, gpu);
    }
}

#[test]
fn group_norms_are_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    tch::manual_seed(7);
    let coords = voxels();
    for channels in [96, 768] {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint =
            checkpoint(folder.path(), &[("weight", random(&[channels])), ("bias", random(&[channels]))]);
        let layer = |placement: Placement, x: &SparseTensor| {
            let norm = checkpoint.build(placement, |weights| GroupNorm::load(weights, channels, 32)).unwrap();
            norm.forward_silu(x).unwrap()
        };
        compare(
            &format!("{channels} channels"),
            &(random(&[8 * coords.size()[0], channels]) + 1.0),
            &coords,
            layer,
            gpu,
        );
    }
}
