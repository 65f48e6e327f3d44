//! Parity of the decoders to Gaussians and to a radiance field.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Stage;
use tch::Tensor;
use trellis::asset::formats::ply::{self, Axes};
use trellis::slat::{GaussianDecoder, RadianceFieldDecoder};
use trellis::sparse::{Grid, SparseTensor};

fn latents(stage: &Stage) -> SparseTensor {
    SparseTensor::new(Grid::new(stage.input("coords")).unwrap(), stage.input("feats")).unwrap()
}

fn list(values: &[f32], shape: &[i64]) -> Tensor {
    Tensor::from_slice(values).reshape(shape)
}

#[test]
fn gaussians_09_of_two_samples() {
    let Some(stage) = Stage::open("09_slat_decoder_gs") else { return };
    let decoder = GaussianDecoder::load(&stage.checkpoint(), stage.placement()).unwrap();
    let raw = decoder.raw(&latents(&stage)).unwrap();
    stage.close("raw", raw.feats());
    for (sample, parameters) in decoder.parameters(&raw).unwrap().iter().enumerate() {
        stage.close(&format!("g{sample}._xyz"), &parameters.positions);
        stage.close(&format!("g{sample}._features_dc"), &parameters.colours.unsqueeze(1));
        stage.close(&format!("g{sample}._scaling"), &parameters.scales);
        stage.close(&format!("g{sample}._rotation"), &parameters.rotations);
        stage.close(&format!("g{sample}._opacity"), &parameters.opacities);

        let gaussians = decoder.activate(parameters).unwrap();
        stage.close(&format!("g{sample}.get_xyz"), &list(gaussians.positions.as_flattened(), &[-1, 3]));
        stage.close(&format!("g{sample}.get_scaling"), &list(gaussians.scales.as_flattened(), &[-1, 3]));
        stage.close(&format!("g{sample}.get_opacity"), &list(&gaussians.opacities, &[-1, 1]));
        let rotations = list(gaussians.rotations.as_flattened(), &[-1, 4]);
        let lengths = rotations.norm_scalaropt_dim(2, [-1].as_slice(), true);
        stage.close(&format!("g{sample}.get_rotation"), &(rotations / lengths));
    }
}

#[test]
fn radiance_field_10_of_two_samples() {
    let Some(stage) = Stage::open("10_slat_decoder_rf") else { return };
    let decoder = RadianceFieldDecoder::load(&stage.checkpoint(), stage.placement()).unwrap();
    let latents = latents(&stage);
    stage.close("raw", decoder.raw(&latents).unwrap().feats());
    for (sample, field) in decoder.forward(&latents).unwrap().iter().enumerate() {
        let name = |part: &str| format!("r{sample}.{part}");
        stage.close(&name("position"), &list(field.positions.as_flattened(), &[-1, 3]));
        let vectors = field.vectors.as_flattened().as_flattened().as_flattened();
        stage.close(&name("trivec"), &list(vectors, &[-1, 16, 3, 8]));
        stage.close(&name("density"), &list(field.density.as_flattened(), &[-1, 16]));
        let harmonics = field.harmonics.as_flattened().as_flattened();
        stage.close(&name("features_dc"), &list(harmonics, &[-1, 16, 1, 3]));
    }
}

/// The last bits of logarithms differ from one mathematical library to the next, so numbers are compared and not their bytes.
#[test]
fn gaussians_09_as_a_file() {
    let Some(stage) = Stage::open("09_slat_decoder_gs") else { return };
    let decoder = GaussianDecoder::load(&stage.checkpoint(), stage.placement()).unwrap();
    let samples = decoder.forward(&latents(&stage)).unwrap();
    for (sample, axes, file) in
        [(0, Axes::YDown, "g0.ply"), (1, Axes::YDown, "g1.ply"), (1, Axes::ZUp, "g1_no_transform.ply")]
    {
        let (actual, expected) =
            (ply::gaussians(&samples[sample], axes), std::fs::read(stage.path(file)).unwrap());
        let end = b"end_header\n";
        let header = expected.windows(end.len()).position(|window| window == end).unwrap() + end.len();
        assert_eq!(actual.len(), expected.len());
        assert_eq!(actual[..header], expected[..header]);
        let numbers = |bytes: &[u8]| -> Vec<f32> {
            bytes[header..].as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
        };
        let rows = |bytes| list(&numbers(bytes), &[-1, 17]);
        // Files hold logarithms of scales and logits of opacities, which magnify the decoder's last bits some hundredfold.
        stage.within(file, &rows(&actual), &rows(&expected), 2e-4);
    }
}
