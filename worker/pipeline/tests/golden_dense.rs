//! Parity of the dense stages: image, encoder, sparse structure, samplers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Stage, hollow_checkpoint, read_json};
use image::RgbaImage;
use tch::{Kind, Tensor};
use trellis::dinov2::DinoV2;
use trellis::image as photo;
use trellis::sampler::{Condition, MultiImage, Sampling, sample};
use trellis::sparse_structure::{SparseStructureDecoder, SparseStructureFlow, active_voxels};
use trellis::weights::Placement;

fn bytes(image: &[u8], shape: &[i64]) -> Tensor {
    Tensor::from_data_size(image, shape, Kind::Uint8)
}

/// Preprocesses `image` and compares with `<name>.output.png`.
fn check_preprocess(stage: &Stage, name: &str, image: &RgbaImage) -> image::RgbImage {
    let actual = photo::preprocess(image).unwrap();
    let expected = image::open(stage.path(&format!("{name}.output.png"))).unwrap().into_rgb8();
    let shape = [518, 518, 3];
    stage.within(&format!("{name}.output.png"), &bytes(&actual, &shape), &bytes(&expected, &shape), 0.0);
    actual
}

#[test]
fn image_01_preprocess() {
    let Some(stage) = Stage::open("01_image_preprocess") else { return };
    for name in ["synthetic_a", "synthetic_b", "example"] {
        let file = std::fs::read(stage.path(&format!("{name}.input.png"))).unwrap();
        let preprocessed = check_preprocess(&stage, name, &photo::decode(&file).unwrap());
        let normalised = photo::to_tensor(&preprocessed, stage.device).unwrap().squeeze_dim(0);
        let sampled = |size: i64, start: i64, end: i64, step: i64| {
            normalised.slice(1, start, end.min(size), step).slice(2, start, end.min(size), step)
        };
        let sum = normalised.to_kind(Kind::Double).sum_dim_intlist([1, 2].as_slice(), false, Kind::Double);
        stage.exact(&format!("{name}.stride7"), &sampled(518, 0, 518, 7));
        stage.exact(&format!("{name}.window"), &sampled(518, 230, 294, 1));
        let expected = stage.output(&format!("{name}.channel_sum"));
        stage.within(&format!("{name}.channel_sum"), &sum, &expected, 1e-6);
    }
}

/// What comes before and after the removal of a background, with a disc that stands in for the predicted alpha.
#[test]
fn image_01_preprocess_opaque() {
    let Some(stage) = Stage::open("01_image_preprocess") else { return };
    let photo = image::open(stage.path("opaque.input.png")).unwrap().into_rgba8();
    let mut cut_out = trellis::background::shrink(&photo);
    let shape = [i64::from(cut_out.height()), i64::from(cut_out.width()), 4];
    let window = bytes(&cut_out, &shape).slice(0, 300, 364, 1).slice(1, 500, 564, 1).slice(2, 0, 3, 1);
    stage.exact("opaque.given_window", &window);

    for (x, y, pixel) in cut_out.enumerate_pixels_mut() {
        let (dx, dy) = (i64::from(x) - 400, i64::from(y) - 300);
        pixel[3] = if dx * dx + dy * dy < 200 * 200 { 255 } else { 0 };
    }
    check_preprocess(&stage, "opaque", &cut_out);
}

#[test]
fn dinov2_02() {
    let Some(stage) = Stage::open("02_dinov2") else { return };
    let model = DinoV2::load(&stage.checkpoint(), stage.placement()).unwrap();
    let image = image::RgbImage::from_raw(
        518,
        518,
        Vec::<u8>::try_from(stage.input("image_u8").flatten(0, -1)).unwrap(),
    );
    let image = photo::to_tensor(&image.unwrap(), stage.device).unwrap();
    stage.close("tokens", &model.embed(&image).unwrap().slice(1, None, None, 16));
    stage.close("x_prenorm", &model.features(&image).unwrap());
    stage.close("cond", &model.encode(&image).unwrap());
    let half = DinoV2::load(&stage.checkpoint(), stage.half()).unwrap().encode(&image).unwrap();
    // Normalised numbers, of size 1: ten roundings of f16.
    stage.within("cond in f16", &half, &stage.output("cond"), 1e-2);
}

/// In f32, and within the reference's own loss of precision in f16.
fn check_flow(name: &str) {
    let Some(stage) = Stage::open(name) else { return };
    let (x, condition, t) = (stage.input("x"), stage.input("cond"), stage.input("t"));
    let compare = |placement: Placement, close: &dyn Fn(&str, &Tensor)| {
        let model = SparseStructureFlow::load(&stage.checkpoint(), placement).unwrap();
        for index in 0..3 {
            let velocity = model.forward(&x, &t.get(index).repeat([2]), &condition).unwrap();
            close(&format!("v_{index}"), &velocity);
        }
        close("v_per_sample_t", &model.forward(&x, &stage.input("t_per_sample"), &condition).unwrap());
    };
    compare(stage.placement(), &|name, velocity| stage.close(name, velocity));
    compare(stage.half(), &|name, velocity| stage.close_in_half(name, velocity));
}

#[test]
fn sparse_structure_flow_04() {
    check_flow("04_ss_flow");
}

#[test]
fn sparse_structure_flow_04_with_normed_cross_attention() {
    check_flow("04_ss_flow/xl_cross_norm");
}

#[test]
fn sparse_structure_flow_04_with_patches_and_shared_modulation() {
    check_flow("04_ss_flow/patch2_share_mod");
}

/// Runs a sampler and compares the sample after each step whose `<name>.x_t.<i>` the fixture holds.
fn check_sampler(
    stage: &Stage,
    model: &SparseStructureFlow,
    name: &str,
    noise: Tensor,
    condition: &Condition,
    sampling: &Sampling,
) {
    let mut compare = |step: usize, x: &Tensor| {
        stage.close(&format!("{name}.x_t.{}", step - 1), x);
        Ok(())
    };
    let last = sample(model, noise, condition, sampling, &mut compare).unwrap();
    stage.close(&format!("{name}.final"), &last);
}

#[test]
fn samplers_05() {
    let Some(stage) = Stage::open("05_samplers") else { return };
    let model = SparseStructureFlow::load(&stage.checkpoint(), stage.placement()).unwrap();
    let (noise, cond, negative) = (stage.input("noise"), stage.input("cond"), stage.input("neg_cond"));
    let interval =
        |steps, cfg_strength| Sampling { steps, cfg_strength, cfg_interval: (0.5, 1.0), rescale_t: 3.0 };
    let whole = |cfg_strength| Sampling { steps: 4, cfg_strength, cfg_interval: (0.0, 1.0), rescale_t: 1.0 };
    let condition = |images, negative, multi_image| Condition { images, negative, multi_image };
    let mode = MultiImage::Stochastic;

    let both = condition(vec![cond.copy()], negative.copy(), mode);
    for (name, sampling) in [
        ("euler", whole(0.0)),
        ("cfg", whole(3.0)),
        ("interval4", interval(4, 7.5)),
        ("interval12", interval(12, 7.5)),
    ] {
        check_sampler(&stage, &model, name, noise.copy(), &both, &sampling);
    }
    let first = condition(vec![cond.narrow(0, 0, 1)], negative.narrow(0, 0, 1), mode);
    check_sampler(&stage, &model, "interval4_cond_broadcast", noise.copy(), &first, &interval(4, 7.5));

    let images = stage.input("multi_cond");
    for (name, mode) in [("multi_stochastic", mode), ("multi_multidiffusion", MultiImage::Multidiffusion)] {
        let three = (0..3).map(|index| images.narrow(0, index, 1)).collect();
        let several = condition(three, images.narrow(0, 0, 1).zeros_like(), mode);
        check_sampler(&stage, &model, name, noise.narrow(0, 0, 1), &several, &interval(5, 7.5));
    }
}

#[test]
fn sampler_05_times_and_guided_steps() {
    let Some(stage) = Stage::open("05_samplers") else { return };
    for (steps, rescale) in [4, 12, 25, 50].into_iter().flat_map(|steps| [(steps, 1), (steps, 3)]) {
        let sampling =
            Sampling { steps, cfg_strength: 1.0, cfg_interval: (0.5, 1.0), rescale_t: f64::from(rescale) };
        let compare = |name: String, actual: Tensor| {
            stage.within(&name, &actual, &stage.tensor("t_sequences.safetensors", &name), 0.0);
        };
        let times = sampling.times();
        let guided: Vec<u8> = times[..steps].iter().map(|&t| u8::from(sampling.guides(t))).collect();
        compare(format!("t_{steps}_rescale{rescale}"), Tensor::from_slice(&times));
        compare(format!("guided_{steps}_rescale{rescale}"), Tensor::from_slice(&guided));
    }
}

fn check_decoder(name: &str) {
    let Some(stage) = Stage::open(name) else { return };
    let model = SparseStructureDecoder::load(&stage.checkpoint(), stage.placement()).unwrap();
    let logits = model.forward(&stage.input("z")).unwrap();
    stage.close("logits", &logits);
    stage.exact("coords", &active_voxels(&logits).unwrap());
}

#[test]
fn sparse_structure_decoder_06() {
    check_decoder("06_ss_decoder");
}

#[test]
fn sparse_structure_decoder_06_with_group_norm() {
    check_decoder("06_ss_decoder/group_norm");
}

#[test]
fn dinov2_02_of_the_released_size_has_the_tensors_that_the_model_takes() {
    let Some(stage) = Stage::open("02_dinov2") else { return };
    let full = read_json(&stage.path("params_full.json"));
    let mut config = read_json(&stage.path("config.json"));
    for key in ["embed_dim", "depth", "num_heads"] {
        config["args"][key] = full[key].clone();
    }
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = hollow_checkpoint(folder.path(), &config, &full["params"]);
    stage.holds("params_full", DinoV2::load(&checkpoint, Placement::unread()).map(drop));
}
