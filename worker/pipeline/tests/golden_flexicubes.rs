//! FlexiCubes against the reference: faces exactly, vertices and colours within rounding.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Stage;
use tch::{Device, Kind, Tensor};
use trellis::flexicubes::{CubeWeights, Surface, VertexValues, surface};

/// `[side³, 3]` coordinates of a whole grid, lexicographic.
fn dense(side: i64, device: Device) -> Tensor {
    let axis = Tensor::arange(side, (Kind::Int, device));
    let axes = Tensor::meshgrid_indexing(&[&axis, &axis, &axis], "ij");
    Tensor::stack(&axes, -1).reshape([-1, 3])
}

fn vertices(stage: &Stage, case: &str, resolution: i64, warped: bool) -> VertexValues {
    let sdf = stage.input(&format!("{case}.sdf"));
    let (deform, attributes) = if warped {
        (stage.input(&format!("{case}.deform")), stage.input(&format!("{case}.color")))
    } else {
        let none = |channels| Tensor::zeros([sdf.size()[0], channels], (Kind::Float, stage.device));
        (none(3), none(0))
    };
    VertexValues { coords: dense(resolution + 1, stage.device), sdf, deform, attributes }
}

fn compare(
    stage: &Stage,
    case: &str,
    resolution: u16,
    vertices: &VertexValues,
    weights: &CubeWeights,
) -> Surface {
    let surface = surface(resolution, &inside(vertices), vertices, weights).unwrap();
    let rows = |flat: &[f32], width: i64| Tensor::from_slice(flat).reshape([-1, width]);
    let faces: Vec<i32> = surface.faces.iter().flatten().map(|&vertex| vertex as i32).collect();
    stage.exact(&format!("{case}.faces"), &Tensor::from_slice(&faces).reshape([-1, 3]));
    stage.close(&format!("{case}.vertices"), &rows(surface.vertices.as_flattened(), 3));
    if !surface.attributes.is_empty() {
        stage.close(&format!("{case}.colors"), &rows(&surface.attributes, 6));
    }
    surface
}

fn inside(vertices: &VertexValues) -> Tensor {
    vertices.coords.index_select(0, &vertices.sdf.lt(0.0).nonzero().flatten(0, -1))
}

fn no_weights(device: Device) -> CubeWeights {
    CubeWeights {
        coords: Tensor::zeros([0, 3], (Kind::Int, device)),
        raw: Tensor::zeros([0, 21], (Kind::Float, device)),
    }
}

#[test]
fn surfaces_are_those_of_the_reference() {
    let Some(stage) = Stage::open("12_flexicubes") else { return };
    for (case, resolution, warped) in
        [("torus_plain", 32, false), ("noise_plain", 8, true), ("empty", 4, false)]
    {
        let vertices = vertices(&stage, case, resolution, warped);
        compare(&stage, case, resolution as u16, &vertices, &no_weights(stage.device));
    }

    let raw = ["beta", "alpha", "gamma"]
        .map(|name| stage.input(&format!("noise_weights.{name}")).reshape([512, -1]));
    let weights = CubeWeights { coords: dense(8, stage.device), raw: Tensor::cat(&raw, 1) };
    compare(&stage, "noise_weights", 8, &vertices(&stage, "noise_weights", 8, true), &weights);

    let rows = stage.input("torus_weights.weight_cube_index").to_kind(Kind::Int64);
    let weights = CubeWeights {
        coords: dense(32, stage.device).index_select(0, &rows),
        raw: stage.input("torus_weights.weight_rows"),
    };
    compare(&stage, "torus_weights", 32, &vertices(&stage, "torus_weights", 32, false), &weights);
}

#[test]
fn what_is_left_out_of_a_field_counts_as_outside() {
    let Some(stage) = Stage::open("12_flexicubes") else { return };
    let all = vertices(&stage, "torus_plain", 32, false);
    let dense = compare(&stage, "torus_plain", 32, &all, &no_weights(stage.device));
    let sparse = all.at(&all.sdf.lt(0.0).nonzero().flatten(0, -1)).unwrap();
    let partial = surface(32, &inside(&all), &sparse, &no_weights(stage.device)).unwrap();
    assert_eq!(partial.faces, dense.faces);
}

#[test]
fn a_voxel_outside_the_grid_is_refused() {
    let vertices = VertexValues {
        coords: Tensor::from_slice(&[0i32, 0, 9]).reshape([1, 3]),
        sdf: Tensor::from_slice(&[-1f32]),
        deform: Tensor::zeros([1, 3], (Kind::Float, Device::Cpu)),
        attributes: Tensor::zeros([1, 0], (Kind::Float, Device::Cpu)),
    };
    assert!(surface(8, &inside(&vertices), &vertices, &no_weights(Device::Cpu)).is_err());
}

#[test]
fn voxels_out_of_order_are_refused() {
    let vertices = |coords: &[i32]| VertexValues {
        coords: Tensor::from_slice(coords).reshape([2, 3]),
        sdf: Tensor::from_slice(&[-1f32, -1.0]),
        deform: Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)),
        attributes: Tensor::zeros([2, 0], (Kind::Float, Device::Cpu)),
    };
    let is_field = |coords| {
        let vertices = vertices(coords);
        surface(8, &inside(&vertices), &vertices, &no_weights(Device::Cpu)).is_ok()
    };
    assert!(is_field(&[0, 1, 0, 0, 2, 0]));
    assert!(!is_field(&[0, 2, 0, 0, 1, 0]));
    assert!(!is_field(&[0, 1, 0, 0, 1, 0]));
}
