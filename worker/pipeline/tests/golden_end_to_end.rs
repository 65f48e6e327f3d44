//! Parity of a whole request: a photo through a small model in the released layout.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::ops::ControlFlow;

use common::Stage;
use image::RgbaImage;
use tch::{Device, Kind, Tensor};
use trellis::device::DeviceChoice;
use trellis::noise::Noise;
use trellis::pipeline::{Input, LoadOptions, Modality, Options, Precision, Progress, Request, join_voxels};
use trellis::sampler::{Condition, MultiImage};
use trellis::sparse::SparseTensor;
use trellis::{Error, Pipeline, image as photo};

const SEED: u64 = 42;

fn load(stage: &Stage) -> (Pipeline, RgbaImage) {
    let device = match stage.device {
        Device::Cuda(index) => DeviceChoice::Cuda(index),
        _ => DeviceChoice::Cpu,
    };
    let options = LoadOptions { device, precision: Some(Precision::F32), ..LoadOptions::default() };
    let pipeline = Pipeline::load(&stage.path("model"), options).unwrap();
    (pipeline, photo::decode(&std::fs::read(stage.path("input.png")).unwrap()).unwrap())
}

fn rows<const WIDTH: usize>(rows: &[[f32; WIDTH]]) -> Tensor {
    Tensor::from_slice(rows.as_flattened()).reshape([-1, WIDTH as i64])
}

#[test]
fn every_stage_15_is_the_references() {
    let Some(stage) = Stage::open("15_end2end") else { return };
    let (pipeline, image) = load(&stage);
    let mut noise = Noise::new(SEED);
    let bytes = |image: &[u8]| Tensor::from_data_size(image, &[518, 518, 3], Kind::Uint8);

    let expected = image::open(stage.path("preprocessed.png")).unwrap().into_rgb8();
    stage.within("preprocessed.png", &bytes(&photo::preprocess(&image).unwrap()), &bytes(&expected), 0.0);

    let (models, decoders) = (pipeline.generator(Modality::Image).unwrap(), pipeline.decoders());
    let images = models.encode_images(&[image]).unwrap();
    stage.close("cond", &images[0]);
    let negative = models.negative(&images[0]).unwrap();
    let condition = Condition { images, negative, multi_image: MultiImage::default() };

    let sampling = models.folder().sparse_structure_sampling();
    let first_only = &mut |step: usize, x: &Tensor| {
        if step == 1 {
            stage.close("ss_x_t.0", x);
        }
        Ok(())
    };
    let start = noise.draw(&models.structure_noise_shape(1), stage.device).unwrap();
    let latent = models.sample_structure(start, &condition, &sampling, first_only).unwrap();
    stage.close("ss_latent", &latent);

    let logits = decoders.structure(&latent).unwrap();
    let every_fourth = (2..5).fold(logits.copy(), |grid, axis| grid.slice(axis, None, None, 4));
    stage.close("ss_logits_stride4", &every_fourth);
    let grid = join_voxels(&[&decoders.voxels(&logits).unwrap()[0]]).unwrap();
    stage.exact("coords", grid.coords());

    let sampling = models.folder().slat_sampling();
    let each = &mut |step: usize, x: &Tensor| {
        stage.close(&format!("slat_x_t.{}", step - 1), x);
        Ok(())
    };
    let start = noise.draw(&models.slat_noise_shape(grid.len()), stage.device).unwrap();
    let sample = models.sample_slat(start, &grid, &condition, &sampling, each).unwrap();
    let slat = models.denormalize(&sample).unwrap();
    stage.close("slat_denormalised", &slat);

    let surface = decoders.surface(&SparseTensor::new(grid, slat).unwrap()).unwrap();
    let faces: Vec<i32> = surface.faces.iter().flatten().map(|&vertex| vertex as i32).collect();
    stage.exact("mesh.faces", &Tensor::from_slice(&faces).reshape([-1, 3]));
    stage.close("mesh.vertices", &rows(&surface.vertices));
    stage.close("mesh.vertex_attrs", &Tensor::from_slice(&surface.attributes).reshape([-1, 6]));
}

#[test]
fn noise_15_is_the_references() {
    let Some(stage) = Stage::open("15_end2end") else { return };
    let mut noise = Noise::new(SEED);
    for name in ["noise_ss", "noise_slat"] {
        let expected = stage.tensor("inputs.safetensors", name);
        stage.within(name, &noise.draw(&expected.size(), Device::Cpu).unwrap(), &expected, 0.0);
    }
}

#[test]
fn a_request_goes_through_its_stages_in_order_and_can_be_cancelled_in_any() {
    let Some(stage) = Stage::open("15_end2end") else { return };
    let (pipeline, image) = load(&stage);
    let options = Options { seed: SEED, ..Options::default() };
    let request = Request { input: Input::Images(vec![image]), options };

    let mut seen: Vec<Progress> = Vec::new();
    let assets = pipeline
        .generate(&request, &mut |progress| {
            seen.push(progress);
            ControlFlow::Continue(())
        })
        .unwrap();
    let [asset] = &assets[..] else { panic!("one sample, {} assets", assets.len()) };
    let mesh = asset.mesh.as_ref().unwrap();
    assert!(seen.windows(2).all(|pair| pair[0].fraction <= pair[1].fraction), "{seen:?}");
    let mut stages: Vec<_> = seen.iter().map(|progress| progress.stage).collect();
    stages.dedup();
    let timed: Vec<_> = asset.timings.iter().map(|timing| timing.stage).collect();
    assert_eq!(stages, timed);
    // The four stages begin, and each of the 6 steps of both samplers is told of.
    assert_eq!(seen.len(), 4 + 2 * 6);

    for stop in [1, 3, seen.len() - 1] {
        let mut calls = 0;
        let result = pipeline.generate(&request, &mut |_| {
            calls += 1;
            if calls == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(result, Err(Error::Cancelled)), "cancelled at call {stop}");
        assert_eq!(calls, stop);
    }

    let rows =
        Tensor::from_slice(&[asset.voxels as i64, mesh.vertices.len() as i64, mesh.faces.len() as i64]);
    let expected = ["coords", "mesh.vertices", "mesh.faces"].map(|name| stage.output(name).size()[0]);
    stage.within("voxels, vertices, faces", &rows, &Tensor::from_slice(&expected), 0.0);
}
