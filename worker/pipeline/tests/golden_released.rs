//! Every model file as it was released, by the names and shapes of its tensors.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Stage, hollow_checkpoint, read_json};
use trellis::Result;
use trellis::slat::{GaussianDecoder, MeshDecoder, RadianceFieldDecoder, SlatEncoder, SlatFlow};
use trellis::sparse_structure::{SparseStructureDecoder, SparseStructureEncoder, SparseStructureFlow};
use trellis::weights::{Checkpoint, Placement};

fn load(checkpoint: &Checkpoint) -> Result<()> {
    let nothing = Placement::unread();
    match checkpoint.class() {
        "SparseStructureFlowModel" => SparseStructureFlow::load(checkpoint, nothing).map(drop),
        "SparseStructureDecoder" => SparseStructureDecoder::load(checkpoint, nothing).map(drop),
        "SparseStructureEncoder" => SparseStructureEncoder::load(checkpoint, nothing).map(drop),
        "SLatFlowModel" => SlatFlow::load(checkpoint, nothing).map(drop),
        "SLatGaussianDecoder" => GaussianDecoder::load(checkpoint, nothing).map(drop),
        "SLatRadianceFieldDecoder" => RadianceFieldDecoder::load(checkpoint, nothing).map(drop),
        "SLatMeshDecoder" => MeshDecoder::load(checkpoint, nothing).map(drop),
        "SLatEncoder" => SlatEncoder::load(checkpoint, nothing).map(drop),
        other => panic!("no model is a {other}"),
    }
}

#[test]
fn all_14_checkpoints_have_the_tensors_that_the_models_take() {
    let Some(stage) = Stage::open("14_params_full") else { return };
    let mut checked = 0;
    for entry in std::fs::read_dir(stage.path("")).unwrap() {
        let file = read_json(&entry.unwrap().path());
        let Some(released) = file["released_as"].as_str() else { continue };
        let folder = tempfile::tempdir().unwrap();
        stage.holds(released, load(&hollow_checkpoint(folder.path(), &file["config"], &file["params"])));
        checked += 1;
    }
    assert_eq!(checked, 14);
}
