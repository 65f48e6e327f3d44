//! Parity of what variants of a given mesh need: voxels and encoders.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Stage;
use tch::{Kind, Tensor};
use trellis::asset::voxelize::{fit_unit_cube, surface_voxels};
use trellis::slat::SlatEncoder;
use trellis::sparse::{Grid, SparseTensor};
use trellis::sparse_structure::SparseStructureEncoder;

#[test]
fn voxels_17_of_a_torus_a_box_and_loose_triangles() {
    let Some(stage) = Stage::open("17_voxelize") else { return };
    for shape in ["torus", "axis_aligned_box", "triangle_soup"] {
        let vertices = stage.tensor("inputs.safetensors", &format!("{shape}.vertices"));
        let vertices = Vec::<f64>::try_from(vertices.flatten(0, -1)).unwrap();
        let fitted = fit_unit_cube(vertices.as_chunks().0).unwrap();
        let rows = Tensor::from_slice(fitted.as_flattened()).reshape([-1, 3]);
        let name = format!("{shape}.normalised_vertices");
        stage.within(&name, &rows, &stage.output(&name), 1e-15);

        let faces = stage.tensor("inputs.safetensors", &format!("{shape}.faces"));
        let faces: Vec<u32> = Vec::<i32>::try_from(faces.flatten(0, -1))
            .unwrap()
            .into_iter()
            .map(|index| index as u32)
            .collect();
        let voxels = surface_voxels(&fitted, faces.as_chunks().0).unwrap();
        let rows = Tensor::from_slice(voxels.as_flattened()).reshape([-1, 3]).to_kind(Kind::Int);
        stage.exact(&format!("{shape}.coords_sorted"), &rows);
    }
}

#[test]
fn sparse_structure_encoder_06() {
    let Some(stage) = Stage::open("06_ss_encoder") else { return };
    let model = SparseStructureEncoder::load(&stage.checkpoint(), stage.placement()).unwrap();
    let (mean, log_variance) = model.forward(&stage.input("occupancy").to_kind(Kind::Float)).unwrap();
    stage.close("z", &mean);
    stage.close("mean", &mean);
    stage.close("logvar", &log_variance);
}

#[test]
fn structured_latent_encoder_16() {
    let Some(stage) = Stage::open("16_slat_encoder") else { return };
    let model = SlatEncoder::load(&stage.checkpoint(), stage.placement()).unwrap();
    let features =
        SparseTensor::new(Grid::new(stage.input("coords")).unwrap(), stage.input("feats")).unwrap();
    let (mean, log_variance) = model.forward(&features).unwrap();
    stage.close("z", mean.feats());
    stage.close("mean", mean.feats());
    stage.close("logvar", &log_variance);
}
