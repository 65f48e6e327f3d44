//! Gaussians in PLY against the files that the reference writes (fixture 09).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use safetensors::SafeTensors;
use trellis_asset::Gaussians;
use trellis_asset::formats::ply::{self, Axes};

const FIXTURE: &str = concat!(env!("TRELLIS_SOURCES"), "worker/pipeline/tests/golden/09_slat_decoder_gs");
/// Numbers of a Gaussian in the file.
const COLUMNS: usize = 17;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(FIXTURE).join(name)).unwrap()
}

fn vectors<const N: usize>(tensors: &SafeTensors<'_>, name: &str) -> Vec<[f32; N]> {
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(tensors.tensor(name).unwrap().data());
    values.as_chunks::<N>().0.to_vec()
}

/// The Gaussians that the fixture's files are of.
fn gaussians(tensors: &SafeTensors<'_>, sample: &str) -> Gaussians {
    let name = |field: &str| format!("{sample}.{field}");
    let bias = [1.0, 0.0, 0.0, 0.0];
    let rotation = |raw: [f32; 4]| std::array::from_fn(|part| raw[part] + bias[part]);
    Gaussians {
        positions: vectors(tensors, &name("get_xyz")),
        harmonics: vectors(tensors, &name("_features_dc")),
        opacities: vectors::<1>(tensors, &name("get_opacity")).into_iter().flatten().collect(),
        scales: vectors(tensors, &name("get_scaling")),
        rotations: vectors(tensors, &name("_rotation")).into_iter().map(rotation).collect(),
    }
}

/// Header and numbers.
fn parts(file: &[u8]) -> (&[u8], Vec<f32>) {
    let end = b"end_header\n";
    let length = file.windows(end.len()).position(|window| window == end).unwrap() + end.len();
    (&file[..length], bytemuck::pod_collect_to_vec(&file[length..]))
}

#[test]
fn the_file_is_the_references() {
    let bytes = fixture("outputs.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for (sample, axes, name) in [
        ("g0", Axes::YDown, "g0.ply"),
        ("g1", Axes::YDown, "g1.ply"),
        ("g1", Axes::ZUp, "g1_no_transform.ply"),
    ] {
        let (expected, written) = (fixture(name), ply::gaussians(&gaussians(&tensors, sample), axes));
        let ((expected_header, expected), (header, written)) = (parts(&expected), parts(&written));
        assert_eq!(String::from_utf8_lossy(header), String::from_utf8_lossy(expected_header), "{name}");
        assert_eq!(written.len(), expected.len(), "{name}");
        let mut differing = 0;
        for (index, (a, b)) in written.iter().zip(&expected).enumerate() {
            // The reference computes logarithms with vector instructions, whose last bit is not that of the C library.
            let off = (a - b).abs() / b.abs().max(1.0);
            assert!(
                off <= 4e-7,
                "{name}: Gaussian {}, column {}: {a} for {b}",
                index / COLUMNS,
                index % COLUMNS
            );
            differing += usize::from(a.to_bits() != b.to_bits());
        }
        println!("{name}: {differing} of {} numbers differ in their last bit", written.len());
    }
}
