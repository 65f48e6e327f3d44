//! The flow on sparse latents against the reference: velocities and a whole trajectory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Stage;
use tch::{Kind, Tensor};
use trellis::sampler::{Condition, MultiImage, Sampling, sample};
use trellis::slat::{FlowOnGrid, SlatFlow};
use trellis::sparse::{Grid, SparseTensor};

fn compare_velocities(name: &str) {
    let Some(stage) = Stage::open(name) else { return };
    let model = SlatFlow::load(&stage.checkpoint(), stage.placement()).unwrap();
    for batch in ["b1", "b2"] {
        let input = |what: &str| stage.input(&format!("{batch}.{what}"));
        let x = SparseTensor::new(Grid::new(input("coords")).unwrap(), input("feats")).unwrap();
        let velocity = model.forward(&x, &input("t"), &input("cond")).unwrap();
        stage.close(&format!("{batch}.v"), velocity.feats());
    }
}

#[test]
fn velocities() {
    compare_velocities("08_slat_flow");
}

#[test]
fn velocities_with_three_residual_blocks_and_an_odd_width() {
    compare_velocities("08_slat_flow/io3_xl");
}

#[test]
fn a_trajectory() {
    let Some(stage) = Stage::open("08_slat_flow") else { return };
    let model = SlatFlow::load(&stage.checkpoint(), stage.placement()).unwrap();
    let grid = Grid::new(stage.input("b1.coords")).unwrap();
    let image = stage.input("b1.cond");
    let condition =
        Condition { negative: image.zeros_like(), images: vec![image], multi_image: MultiImage::Stochastic };
    let sampling = Sampling { steps: 6, cfg_strength: 3.0, cfg_interval: (0.5, 1.0), rescale_t: 3.0 };
    let mut on_step = |step: usize, x: &Tensor| {
        stage.close(&format!("traj.x_t.{}", step - 1), x);
        Ok(())
    };
    let flow = FlowOnGrid { model: &model, grid: &grid };
    let latents = sample(&flow, stage.input("traj.noise"), &condition, &sampling, &mut on_step).unwrap();
    stage.close("traj.final", &latents);
}

#[test]
fn samples_of_equal_size_go_through_together_and_stay_apart() {
    let Some(stage) = Stage::open("08_slat_flow") else { return };
    let model = SlatFlow::load(&stage.checkpoint(), stage.placement()).unwrap();
    let coords = stage.input("b1.coords");
    let second = &coords + Tensor::from_slice(&[1i32, 0, 0, 0]).to_device(stage.device);
    let both = Grid::new(Tensor::cat(&[coords, second], 0)).unwrap();
    let feats = stage.input("b1.feats");
    let x = SparseTensor::new(both, Tensor::cat(&[&feats, &(&feats * 2)], 0)).unwrap();
    let t = Tensor::from_slice(&[650f32, 300.0]).to_device(stage.device);
    let cond = stage.input("b1.cond");
    let velocity = model.forward(&x, &t, &Tensor::cat(&[&cond, &cond.zeros_like()], 0)).unwrap();
    stage.close("b1.v", &velocity.feats().narrow(0, 0, feats.size()[0]));
}

#[test]
fn half_precision_stays_near_single() {
    let Some(stage) = Stage::open("08_slat_flow") else { return };
    let model = SlatFlow::load(&stage.checkpoint(), stage.half()).unwrap();
    for batch in ["b1", "b2"] {
        let input = |what: &str| stage.input(&format!("{batch}.{what}"));
        let x = SparseTensor::new(Grid::new(input("coords")).unwrap(), input("feats")).unwrap();
        let velocity = model.forward(&x, &input("t"), &input("cond")).unwrap();
        assert_eq!(velocity.feats().kind(), Kind::Float);
        stage.close_in_half(&format!("{batch}.v"), velocity.feats());
    }
}
