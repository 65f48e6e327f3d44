//! Requests of all kinds through small models: what is made together is what is made alone, and what cannot be made says so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use image::RgbaImage;
use tch::{Device, Tensor};
use trellis::asset::{Mesh, Paint};
use trellis::device::DeviceChoice;
use trellis::noise::Noise;
use trellis::pipeline::{Asset, Input, LoadOptions, Modality, Options, Outputs, Request, StageOptions};
use trellis::sampler::{Condition, MultiImage};
use trellis::{Error, Pipeline, Result};
use trellis_fixtures::Models;

const SPLATS: Outputs = Outputs { mesh: false, gaussians: true, radiance_field: false };

fn cpu() -> LoadOptions {
    LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() }
}

/// Both models in one pipeline, which tests take turns on.
fn both() -> MutexGuard<'static, Pipeline> {
    static BOTH: LazyLock<Mutex<Pipeline>> = LazyLock::new(|| Mutex::new(load_both(cpu())));
    BOTH.lock().unwrap_or_else(PoisonError::into_inner)
}

fn load_both(options: LoadOptions) -> Pipeline {
    let models = Models::new().unwrap();
    Pipeline::load_together(&[&models.image(), &models.text()], options).unwrap()
}

/// One step, Gaussians only: the rest is slow.
fn options(seed: u64) -> Options {
    let stage = StageOptions { steps: Some(1), cfg_strength: None };
    Options { seed, sparse_structure: stage, structured_latent: stage, outputs: SPLATS, ..Options::default() }
}

fn text(prompt: &str, seed: u64) -> Request {
    Request { input: Input::Text(prompt.into()), options: options(seed) }
}

fn photo() -> RgbaImage {
    let path = Path::new(env!("TRELLIS_SOURCES")).join("worker/pipeline/tests/golden/15_end2end/input.png");
    trellis::image::decode(&std::fs::read(path).unwrap()).unwrap()
}

fn images(count: u32, multi_image: MultiImage, seed: u64) -> Request {
    let turned = |turn| if turn == 0 { photo() } else { image::imageops::rotate90(&photo()) };
    let stage = StageOptions { steps: Some(count.max(1) as usize), cfg_strength: None };
    let options = Options { multi_image, sparse_structure: stage, structured_latent: stage, ..options(seed) };
    Request { input: Input::Images((0..count).map(turned).collect()), options }
}

fn tetrahedron() -> Mesh {
    let corners = vec![[0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    Mesh::new(corners, vec![[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], Paint::None)
}

fn variant(mesh: Mesh, seed: u64) -> Request {
    let input = Input::Variant { mesh: Box::new(mesh), prompt: "mossy stone".into() };
    Request { input, options: options(seed) }
}

fn generate(pipeline: &Pipeline, request: &Request) -> Result<Vec<Asset>> {
    pipeline.generate(request, &mut |_| ControlFlow::Continue(()))
}

fn assert_same(actual: &[Asset], expected: &[Asset]) {
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().zip(expected) {
        assert_eq!((actual.sample, actual.voxels), (expected.sample, expected.voxels));
        assert!(actual.mesh == expected.mesh && actual.gaussians == expected.gaussians);
        assert!(actual.radiance_field == expected.radiance_field);
    }
}

#[test]
fn a_text_becomes_all_that_is_asked_for_and_the_same_each_time() {
    let pipeline = both();
    let outputs = Outputs { mesh: true, gaussians: true, radiance_field: true };
    let mut request = text("a teapot 🫖 \u{1}", 3);
    request.options.outputs = outputs;
    let assets = generate(&pipeline, &request).unwrap();
    let [asset] = &assets[..] else { panic!("{} assets", assets.len()) };
    assert!(!asset.mesh.as_ref().unwrap().is_empty());
    assert_eq!(asset.gaussians.as_ref().unwrap().positions.len(), 32 * asset.voxels);
    assert_eq!(asset.radiance_field.as_ref().unwrap().positions.len(), asset.voxels);

    assert_same(&generate(&pipeline, &request).unwrap(), &assets);
    let other = text("a teapot", 3);
    assert!(generate(&pipeline, &other).unwrap()[0].gaussians != asset.gaussians, "the prompt counts");
}

#[test]
fn a_batch_makes_of_each_request_what_it_makes_of_it_alone() {
    let pipeline = both();
    let mut samples = text("", 5);
    samples.options.samples = 2;
    let requests = [
        text("a chair", 1),
        images(2, MultiImage::Stochastic, 2),
        variant(tetrahedron(), 3),
        samples,
        text(&"long ".repeat(5000), 4),
        text("a table", 4),
        images(2, MultiImage::Stochastic, 7),
    ];
    let together =
        pipeline.generate_batch(&requests.iter().collect::<Vec<_>>(), &mut |_| ControlFlow::Continue(()));
    assert_eq!(together.len(), requests.len());
    for (request, together) in requests.iter().zip(&together) {
        match (generate(&pipeline, request), together) {
            (Ok(alone), Ok(together)) => assert_same(together, &alone),
            (Err(alone), Err(together)) => assert_eq!(alone.to_string(), together.to_string()),
            (alone, _) => panic!("{alone:?} alone, {together:?} together"),
        }
    }
    assert!(matches!(together[4], Err(Error::InvalidInput(_))), "a prompt of 25,000 characters");
}

#[test]
fn samples_in_one_forward_pass_are_those_of_a_pass_each() {
    let (alone, together) = (both(), load_both(LoadOptions { max_batch: Some(4), ..cpu() }));
    let with_samples = |mut request: Request| {
        request.options.samples = 2;
        request
    };
    for request in [
        with_samples(text("a chair", 1)),
        with_samples(images(2, MultiImage::Multidiffusion, 2)),
        with_samples(variant(tetrahedron(), 3)),
    ] {
        let (alone, together) = (generate(&alone, &request).unwrap(), generate(&together, &request).unwrap());
        assert_eq!(alone.len(), together.len());
        for (alone, together) in alone.iter().zip(&together) {
            assert_eq!((alone.sample, alone.voxels), (together.sample, together.voxels));
            let flat = |asset: &Asset| {
                Tensor::from_slice(asset.gaussians.as_ref().unwrap().positions.as_flattened())
            };
            let error = (flat(alone) - flat(together)).abs().max().double_value(&[]);
            assert!(error < 1e-4, "sample {} moves by {error}", alone.sample);
        }
    }
}

#[test]
fn noise_of_several_samples_is_drawn_at_once() {
    let pipeline = both();
    let mut request = text("a chair", 9);
    request.options.samples = 2;
    let assets = generate(&pipeline, &request).unwrap();
    let voxels: Vec<usize> = assets.iter().map(|asset| asset.voxels).collect();

    let models = pipeline.generator(Modality::Text).unwrap();
    let _no_grad = tch::no_grad_guard();
    let encoding = models.encode_prompt("a chair").unwrap();
    let negative = models.negative(&encoding).unwrap();
    let condition = Condition { images: vec![encoding], negative, multi_image: MultiImage::default() };
    let mut sampling = models.folder().sparse_structure_sampling();
    sampling.steps = 1;
    let noise = Noise::new(9).draw(&[2, 8, 16, 16, 16], Device::Cpu).unwrap();
    let expected: Vec<usize> = (0..2)
        .map(|sample| {
            let start = noise.narrow(0, sample, 1);
            let latent = models.sample_structure(start, &condition, &sampling, &mut |_, _| Ok(())).unwrap();
            let logits = pipeline.decoders().structure(&latent).unwrap();
            pipeline.decoders().voxels(&logits).unwrap()[0].size()[0] as usize
        })
        .collect();
    assert_eq!(voxels, expected);
}

#[test]
fn a_variant_has_the_voxels_of_its_mesh_in_every_sample() {
    let pipeline = both();
    let mut request = variant(tetrahedron(), 11);
    request.options.samples = 2;
    let assets = generate(&pipeline, &request).unwrap();
    let voxels = trellis::asset::voxelize::voxelize(&tetrahedron()).unwrap().len();
    assert_eq!(assets.iter().map(|asset| asset.voxels).collect::<Vec<_>>(), [voxels; 2]);
    assert!(assets[0].gaussians != assets[1].gaussians);
}

#[test]
fn what_cannot_be_made_is_refused_before_anything_runs() {
    let models = Models::new().unwrap();
    let of_images = Pipeline::load(&models.image(), cpu()).unwrap();
    let refused = |pipeline: &Pipeline, request: &Request, hint: &str| {
        let refuse = &mut |progress| panic!("{progress:?}");
        match pipeline.generate(request, refuse) {
            Err(Error::InvalidInput(message)) => assert!(message.contains(hint), "{message}"),
            other => panic!("{other:?} where {hint:?} is wrong"),
        }
    };
    refused(&of_images, &text("a chair", 1), "load a TRELLIS text model");
    refused(&of_images, &images(0, MultiImage::Stochastic, 1), "no image");
    for samples in [0, 5] {
        let mut request = images(1, MultiImage::Stochastic, 1);
        request.options.samples = samples;
        refused(&of_images, &request, "use 1 to 4");
    }
    let mut nothing = images(1, MultiImage::Stochastic, 1);
    nothing.options.outputs.gaussians = false;
    refused(&of_images, &nothing, "ask for a mesh");
}

#[test]
fn a_mesh_without_surface_fails_alone_in_its_batch() {
    let pipeline = both();
    let (whole, hollow) = (variant(tetrahedron(), 1), variant(Mesh::new(vec![], vec![], Paint::None), 1));
    let results = pipeline.generate_batch(&[&hollow, &whole], &mut |_| ControlFlow::Continue(()));
    assert!(matches!(results[0], Err(Error::InvalidInput(_))), "{:?}", results[0]);
    assert!(results[1].is_ok(), "{:?}", results[1]);
}

#[test]
fn what_exceeds_the_memory_limit_is_refused_and_the_next_request_is_made() {
    let limited = |bytes| LoadOptions { max_memory: Some(bytes), ..cpu() };
    let models = Models::new().unwrap();
    let error = Pipeline::load(&models.image(), limited(1 << 20)).unwrap_err();
    assert!(matches!(&error, Error::OutOfMemory(text) if text.contains("weights")), "{error}");

    let pipeline = Pipeline::load(&models.text(), limited(8 << 30)).unwrap();
    let full = (0..64).map(|layer| layer as f32 / 64.0);
    let vertices = full.clone().flat_map(|z| [[0.0, 0.0, z], [1.0, 0.0, z], [0.0, 1.0, z], [1.0, 1.0, z]]);
    let faces =
        (0..64).flat_map(|layer| [[0, 1, 2], [1, 3, 2]].map(|face| face.map(|corner| 4 * layer + corner)));
    let solid = Mesh::new(vertices.collect(), faces.collect(), Paint::None);
    let mut request = variant(solid, 1);
    request.options.outputs = Outputs::default();
    let error = generate(&pipeline, &request).unwrap_err();
    assert!(matches!(&error, Error::OutOfMemory(text) if text.contains("voxels")), "{error}");
    assert!(generate(&pipeline, &variant(tetrahedron(), 1)).is_ok());
}

#[test]
fn a_model_that_finds_nothing_or_overflows_says_so() {
    let models = Models::new().unwrap();
    models.set_bias("ckpts/ss_dec_tiny", "out_layer.2.bias", -1e6).unwrap();
    let empty =
        generate(&Pipeline::load(&models.image(), cpu()).unwrap(), &images(1, MultiImage::Stochastic, 1));
    assert!(matches!(empty, Err(Error::Empty("no active voxel"))), "{empty:?}");

    models.set_bias("ckpts/ss_flow_tiny", "out_layer.bias", 3e38).unwrap();
    let overflow =
        generate(&Pipeline::load(&models.image(), cpu()).unwrap(), &images(1, MultiImage::Stochastic, 1));
    assert!(matches!(overflow, Err(Error::NotFinite("the sparse-structure flow"))), "{overflow:?}");
}

#[test]
fn models_with_decoders_of_their_own_are_not_loaded_together() {
    let models = Models::new().unwrap();
    let twice = Pipeline::load_together(&[&models.image(), &models.image()], cpu()).unwrap_err();
    assert!(twice.to_string().contains("takes image input as"), "{twice}");

    let within = models.text().join("owner/TRELLIS-image/ckpts");
    std::fs::create_dir_all(&within).unwrap();
    for extension in ["json", "safetensors"] {
        let name = format!("ckpts/ss_dec_tiny.{extension}");
        let to = within.join(format!("ss_dec_tiny.{extension}"));
        std::fs::copy(models.image().join(name), to).unwrap();
    }
    let apart = Pipeline::load_together(&[&models.image(), &models.text()], cpu()).unwrap_err();
    assert!(apart.to_string().contains("has a sparse_structure_decoder of its own"), "{apart}");
}
