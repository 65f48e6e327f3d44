//! Every operation on sparse tensors against the reference, alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::rc::Rc;

use common::Stage;
use tch::{Kind, Tensor};
use trellis::nn::{
    BlockConfig, Context, CrossAttention, FlowBlock, LayerNorm, QkNorm, Residual, Rows, SelfAttention,
    position_embedding,
};
use trellis::slat::{Resampling, ResidualBlock, SubdivideBlock, SwinBlock};
use trellis::sparse::{
    Convolution, Grid, GroupNorm, PointwiseConvolution, SparseTensor, Windows, windowed_attention,
};
use trellis::weights::{Checkpoint, Weights};

const STAGE: &str = "07_sparse_ops";
const CHANNELS: i64 = 24;
const HEADS: i64 = 3;

/// Runs `test` with the stage, its weights and its sparse tensor.
fn with_weights(test: impl Fn(&Stage, &Weights, &SparseTensor)) {
    let Some(stage) = Stage::open(STAGE) else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    std::fs::write(&config, r#"{"name": "operations", "args": {}}"#).unwrap();
    let checkpoint = Checkpoint::from_files(&config, &stage.path("weights.safetensors")).unwrap();
    let x = sparse(&stage);
    // Each test takes a part of the tensors, so that of the account only "surplus" may be said.
    let account = checkpoint.build(stage.placement(), |weights| {
        test(&stage, weights, &x);
        Ok(())
    });
    let account = account.expect_err("each test takes some of the tensors").to_string();
    assert!(!account.contains("missing") && !account.contains("unfit"), "{account}");
}

fn sparse(stage: &Stage) -> SparseTensor {
    SparseTensor::new(Grid::new(stage.input("coords")).unwrap(), stage.input("feats")).unwrap()
}

#[test]
fn resampling_keeps_the_order_of_rows() {
    let Some(stage) = Stage::open(STAGE) else { return };
    let x = sparse(&stage);
    let down = x.downsample().unwrap();
    stage.exact("down.coords", down.grid().coords());
    stage.exact("down.child_to_parent", x.grid().children().unwrap().group_of_row());
    stage.close("down.feats", down.feats());
    let up = down.upsample(x.grid()).unwrap();
    stage.exact("up.coords", up.grid().coords());
    stage.close("up.feats", up.feats());
    let subdivided = x.subdivide(&x.grid().subdivided().unwrap()).unwrap();
    stage.exact("subdivide.coords", subdivided.grid().coords());
    stage.close("subdivide.feats", subdivided.feats());
}

#[test]
fn features_return_only_to_the_grid_they_came_from() {
    let Some(stage) = Stage::open(STAGE) else { return };
    let x = sparse(&stage);
    let down = x.downsample().unwrap();
    stage.close("down.feats", down.feats());
    assert!(down.upsample(&Grid::new(stage.input("coords")).unwrap()).is_err());
}

#[test]
fn neighbours_of_divided_voxels_are_those_a_search_finds() {
    let Some(stage) = Stage::open(STAGE) else { return };
    let divided = sparse(&stage).grid().subdivided().unwrap().subdivided().unwrap();
    let searched = Grid::new(divided.coords().copy()).unwrap();
    let searched = searched.neighbours().unwrap().to_device(tch::Device::Cpu);
    stage.within("neighbours", divided.neighbours().unwrap(), &searched, 0.0);
}

#[test]
fn convolutions() {
    with_weights(|stage, weights, x| {
        let conv3 = Convolution::load(&weights.at("conv3"), CHANNELS, 16).unwrap();
        stage.close("conv3.feats", conv3.forward(x).unwrap().feats());
        let conv1 = PointwiseConvolution::load(&weights.at("conv1"), CHANNELS, 16).unwrap();
        stage.close("conv1.feats", conv1.forward(x).unwrap().feats());
    });
}

#[test]
fn norms() {
    with_weights(|stage, weights, x| {
        let group = GroupNorm::load(&weights.at("gn"), CHANNELS, 8).unwrap();
        stage.close("gn.feats", group.forward(x).unwrap().feats());
        let layer = LayerNorm::affine(&weights.at("ln"), CHANNELS, 1e-6).unwrap();
        stage.close("ln.feats", &layer.forward(x.feats()).unwrap());
        let rms = QkNorm::load(&weights.at("rms"), HEADS, 8).unwrap();
        stage.close("rms.feats", &rms.forward(x.feats().copy().unflatten(1, [HEADS, 8])).unwrap());
        stage.close("rms_dense.feats", &rms.forward(stage.input("dense_heads")).unwrap());
    });
}

#[test]
fn values_of_a_sample_reach_its_voxels() {
    let Some(stage) = Stage::open(STAGE) else { return };
    let x = sparse(&stage);
    let spread = |name: &str| stage.input(name).index_select(0, &x.grid().coords().select(1, 0));
    let modulated = x.feats() * (spread("scale") + 1) + spread("shift");
    stage.close("batch_broadcast_modulate.feats", &modulated);
}

#[test]
fn positions() {
    let Some(stage) = Stage::open(STAGE) else { return };
    let positions = sparse(&stage).grid().positions().unwrap();
    stage.close("ape64", &position_embedding(&positions, 64).unwrap());
    stage.close("ape96", &position_embedding(&positions, 96).unwrap());
}

/// Sizes of windows are those of the reference.
fn compare_windows(stage: &Stage, grid: &Rc<Grid>, shift: i64) -> Rc<Windows> {
    let windows = grid.windows(8, shift).unwrap();
    let lengths: Vec<i32> = windows.lengths().iter().map(|&length| length as i32).collect();
    stage.exact(&format!("window_shift{shift}.lengths"), &Tensor::from_slice(&lengths));
    windows
}

/// Rows without padding.
fn rows(lengths: &[i64]) -> Rows<'_> {
    Rows { lengths, padding: None }
}

#[test]
fn attention() {
    with_weights(|stage, weights, x| {
        let layer =
            |name: &str, qk_norm| SelfAttention::load(&weights.at(name), CHANNELS, HEADS, qk_norm).unwrap();
        for (name, qk_norm) in [("attn_full", true), ("attn_full_plain", false)] {
            let layer = layer(name, qk_norm);
            let attended = layer.forward(x.feats(), rows(x.grid().lengths())).unwrap();
            stage.close(&format!("{name}.feats"), &attended);
        }
        for (name, qk_norm, shift) in [("attn_win0", false, 0), ("attn_win4", true, 4)] {
            let windows = compare_windows(stage, x.grid(), shift);
            let attended = windowed_attention(&layer(name, qk_norm), x, &windows).unwrap();
            stage.close(&format!("{name}.feats"), attended.feats());
        }
        let cross = CrossAttention::load(&weights.at("attn_cross"), CHANNELS, 20, HEADS, false).unwrap();
        let Context::Tokens { keys, values } = cross.context(&stage.input("context"), false).unwrap() else {
            panic!("tokens that are not alike have keys");
        };
        let attended = cross.forward(x.feats(), &keys, &values, x.grid().lengths()).unwrap();
        stage.close("attn_cross.feats", &attended);
    });
}

#[test]
fn windows_of_all_sizes_attend_as_if_each_were_alone() {
    with_weights(|stage, weights, _| {
        let layer = SelfAttention::load(&weights.at("attn_win0"), CHANNELS, HEADS, false).unwrap();
        let sides = [1, 13, 10, 9].map(|side| Tensor::arange(side, (Kind::Int, stage.device)));
        let coords = Tensor::stack(&Tensor::meshgrid_indexing(&sides, "ij"), -1).reshape([-1, 4]);
        let shuffled = Tensor::arange(13 * 90, (Kind::Int64, stage.device)) * 7;
        let grid = Grid::new(coords.index_select(0, &shuffled.remainder(13 * 90))).unwrap();
        let feats = (Tensor::arange(13 * 90 * CHANNELS, (Kind::Float, stage.device)) * 0.7).sin();
        let x = SparseTensor::new(grid, feats.reshape([-1, CHANNELS])).unwrap();
        let attended = windowed_attention(&layer, &x, &x.grid().windows(8, 4).unwrap()).unwrap();

        let window = (x.grid().positions().unwrap() + 4).floor_divide_scalar(8);
        let window =
            (window.select(1, 0) * 9 + window.select(1, 1) * 3 + window.select(1, 2)).to_kind(Kind::Int64);
        for number in 0..27 {
            let members = window.eq(number).nonzero().flatten(0, -1);
            if members.numel() > 0 {
                let count = members.numel() as i64;
                let alone = layer.forward(&x.feats().index_select(0, &members), rows(&[count])).unwrap();
                let together = attended.feats().index_select(0, &members);
                let name = format!("window {number} of {count} voxels");
                stage.within(&name, &together, &alone.to_device(tch::Device::Cpu), 1e-5);
            }
        }
    });
}

#[test]
fn transformer_blocks() {
    with_weights(|stage, weights, x| {
        let swin = SwinBlock::load(&weights.at("swin_block"), CHANNELS, HEADS, 4 * CHANNELS, false).unwrap();
        let windows = x.grid().windows(8, 4).unwrap();
        stage.close("swin_block.feats", swin.forward(x, &windows).unwrap().feats());

        let config = BlockConfig {
            channels: CHANNELS,
            condition: 20,
            heads: HEADS,
            hidden: 4 * CHANNELS,
            qk_norm: true,
            qk_norm_cross: false,
            shared_modulation: false,
        };
        let block = FlowBlock::load(&weights.at("dit_block"), &config).unwrap();
        let (time, context) = (stage.input("mod"), stage.input("context"));
        let modulation = block.modulation(&time).unwrap().unwrap();
        let context = block.context(&context, false).unwrap();
        let sample = x.grid().coords().select(1, 0).contiguous();
        let lengths = x.grid().lengths();
        let mut stream = Residual::new(x.feats().copy(), Kind::Float, Some(sample));
        block.attend_within(&mut stream, &modulation, rows(lengths)).unwrap();
        block.attend_to_condition(&mut stream, &modulation, lengths, &[&context]).unwrap();
        stage.close("dit_block.feats", &stream.finish().unwrap());
    });
}

#[test]
fn residual_and_subdivide_blocks() {
    with_weights(|stage, weights, x| {
        let time = stage.input("emb");
        let run = |name: &str, [inputs, outputs]: [i64; 2], x: &SparseTensor, resampling: &Resampling| {
            let block = ResidualBlock::load(&weights.at(name), inputs, 32, outputs).unwrap();
            block.forward(x, &block.modulation(&time).unwrap(), resampling).unwrap()
        };
        let same = run("res_same", [24, 24], x, &Resampling::Same);
        stage.close("res_same.feats", same.feats());
        let down = run("res_down", [24, 28], &same, &Resampling::Down);
        stage.exact("res_down.coords", down.grid().coords());
        stage.close("res_down.feats", down.feats());
        let finer = Resampling::Up(Rc::clone(x.grid()));
        let up = run("res_up", [28, 24], &down, &finer);
        stage.close("res_up.feats", up.feats());

        let block = SubdivideBlock::load(&weights.at("subdivide_block"), CHANNELS, 12, 4).unwrap();
        let subdivided = block.forward(x).unwrap();
        stage.exact("subdivide_block.coords", subdivided.grid().coords());
        stage.close("subdivide_block.feats", subdivided.feats());
    });
}

#[test]
fn coordinates_that_make_no_grid_are_refused() {
    let grid = |rows: &[[i32; 4]]| Grid::new(Tensor::from_slice(rows.as_flattened()).reshape([-1, 4]));
    assert_eq!(grid(&[[0, 1, 2, 3], [0, 0, 0, 0], [1, 0, 0, 0]]).unwrap().lengths(), [2, 1]);
    for (what, rows) in [
        ("no voxel", &[][..]),
        ("a sample without voxels", &[[0, 0, 0, 0], [2, 0, 0, 0]]),
        ("samples out of order", &[[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]),
        ("a first sample without voxels", &[[1, 0, 0, 0]]),
        ("a negative coordinate", &[[0, 0, -1, 0]]),
        ("a huge coordinate", &[[0, 0, 1 << 20, 0]]),
    ] {
        assert!(grid(rows).is_err(), "{what}");
    }
    let one = Grid::new(Tensor::zeros([1, 4], (Kind::Int, tch::Device::Cpu))).unwrap();
    assert!(SparseTensor::new(one, Tensor::zeros([2, 3], (Kind::Float, tch::Device::Cpu))).is_err());
}
