//! The mesh decoder against the reference: topology exactly, the rest within rounding.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Stage;
use tch::{Kind, Tensor};
use trellis::asset::Paint;
use trellis::flexicubes::{Surface, extract};
use trellis::slat::{Corners, CubeLayout, MeshDecoder};
use trellis::sparse::{Grid, SparseTensor};

fn rows(flat: &[f32], width: i64) -> Tensor {
    Tensor::from_slice(flat).reshape([-1, width])
}

fn compare_surface(stage: &Stage, prefix: &str, surface: &Surface, has_attributes: bool) {
    let faces: Vec<i32> = surface.faces.iter().flatten().map(|&vertex| vertex as i32).collect();
    stage.exact(&format!("{prefix}.faces"), &Tensor::from_slice(&faces).reshape([-1, 3]));
    stage.close(&format!("{prefix}.vertices"), &rows(surface.vertices.as_flattened(), 3));
    if has_attributes {
        stage.close(&format!("{prefix}.vertex_attrs"), &rows(&surface.attributes, 6));
    } else {
        assert!(surface.attributes.is_empty());
    }
}

fn compare_corners(stage: &Stage, prefix: &str, corners: &Corners) {
    stage.exact(&format!("{prefix}.coords"), &corners.values.coords);
    stage.close(&format!("{prefix}.sdf"), &corners.values.sdf);
    stage.close(&format!("{prefix}.deform"), &corners.values.deform);
    stage.close(&format!("{prefix}.color"), &corners.values.attributes);
}

#[test]
fn meshes_of_two_samples() {
    let Some(stage) = Stage::open("11_slat_decoder_mesh") else { return };
    let decoder = MeshDecoder::load(&stage.checkpoint(), stage.placement()).unwrap();
    let latents = SparseTensor::new(Grid::new(stage.input("coords")).unwrap(), stage.input("feats")).unwrap();
    let cubes = decoder.cubes(&latents).unwrap();
    stage.exact("sub_coords", cubes.grid().coords());
    stage.close("raw", cubes.feats());

    let lengths = cubes.grid().lengths();
    let coords = cubes.grid().positions().unwrap().split_with_sizes(lengths, 0);
    let feats = cubes.feats().split_with_sizes(lengths, 0);
    for (sample, (coords, feats)) in coords.iter().zip(&feats).enumerate() {
        let corners = CubeLayout::new(64, true).corners(coords, feats).unwrap();
        compare_corners(&stage, &format!("m{sample}.grid"), &corners);
    }
    for (sample, surface) in decoder.surfaces(&latents).unwrap().iter().enumerate() {
        compare_surface(&stage, &format!("m{sample}"), surface, true);
    }
    let meshes = decoder.forward(&latents).unwrap();
    assert_eq!(meshes.len(), 2);
    assert!(meshes.iter().all(|mesh| !mesh.is_empty()
        && matches!(&mesh.paint, Paint::Vertices(colors) if colors.len() == mesh.vertices.len())));
}

#[test]
fn a_sphere_and_a_torus() {
    let Some(stage) = Stage::open("11_slat_decoder_mesh/shapes") else { return };
    let (coords, feats) = (stage.input("coords").narrow(1, 1, 3), stage.input("feats"));
    let layout = CubeLayout::new(24, true);
    compare_corners(&stage, "grid", &layout.corners(&coords, &feats).unwrap());
    compare_surface(&stage, "color", &layout.surface(&coords, &feats).unwrap(), true);
    compare_surface(&stage, "color", &extract(&layout.field(&coords, &feats).unwrap()), true);

    let plain = CubeLayout::new(24, false);
    let surface = plain.surface(&coords, &feats.narrow(1, 0, plain.channels())).unwrap();
    compare_surface(&stage, "nocolor", &surface, false);
}

#[test]
fn half_precision_gives_a_surface_too() {
    let Some(stage) = Stage::open("11_slat_decoder_mesh") else { return };
    let half = trellis::weights::Placement { torso: Kind::Half, ..stage.placement() };
    let decoder = MeshDecoder::load(&stage.checkpoint(), half).unwrap();
    let latents = SparseTensor::new(Grid::new(stage.input("coords")).unwrap(), stage.input("feats")).unwrap();
    // The reference's own difference between half and single is 2.5e-3.
    stage.within("raw in f16", decoder.cubes(&latents).unwrap().feats(), &stage.output("raw"), 5e-3);
}
