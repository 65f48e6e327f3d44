//! What a job asks of the model, checked and with every default filled in.

use trellis::asset::formats::Format as FileFormat;
use trellis::finish::Finish;
use trellis_crds::{Format, GenerationJobSpec, MultiImageMode, Source, StageSampling};

use trellis_worker_core::Failure;

/// What a job asks of the model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Order {
    pub(crate) input: Input,
    /// The seed asked for, or one drawn at random.
    pub(crate) seed: u32,
    pub(crate) samples: usize,
    pub(crate) sparse_structure: Sampling,
    pub(crate) structured_latent: Sampling,
    pub(crate) formats: Vec<FileFormat>,
    pub(crate) finish: Finish,
    pub(crate) preview: bool,
}

/// What the assets are made of. Files are still where the job names them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    Images(MultiImageMode),
    Text(String),
    /// A mesh in a file of this format, and a prompt.
    Variant(FileFormat, String),
}

/// How one of the two stages samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampling {
    pub(crate) steps: u32,
    /// The model's own where there is none.
    pub(crate) cfg_strength: Option<f64>,
}

impl Order {
    /// Checks `spec` against what a worker can do.
    pub(crate) fn of(spec: &GenerationJobSpec) -> Result<Self, Failure> {
        let seed = match spec.sampling.seed {
            Some(seed) => {
                u32::try_from(seed).map_err(|_| Failure::invalid("spec.sampling.seed is not below 2^32"))?
            }
            None => rand::random(),
        };
        let formats: Vec<_> = spec.output.formats.iter().copied().map(file_format).collect();
        Ok(Self {
            input: input(spec)?,
            seed,
            samples: usize::try_from(spec.sampling.samples)
                .map_err(|_| Failure::invalid("spec.sampling.samples is negative"))?,
            sparse_structure: sampling(spec, spec.sampling.sparse_structure.as_ref()),
            structured_latent: sampling(spec, spec.sampling.structured_latent.as_ref()),
            finish: finish(spec).for_files(&formats),
            formats,
            preview: spec.output.preview,
        })
    }
}

fn input(spec: &GenerationJobSpec) -> Result<Input, Failure> {
    let input = &spec.input;
    match (&input.image, &input.text, &input.variant) {
        (Some(image), None, None) => Ok(Input::Images(image.multi_image_mode)),
        (None, Some(text), None) => Ok(Input::Text(text.prompt.clone())),
        (None, None, Some(variant)) => {
            Ok(Input::Variant(mesh_format(&variant.mesh)?, variant.prompt.clone()))
        }
        _ => Err(Failure::invalid("spec.input needs exactly one of image, text and variant")),
    }
}

/// The format that the name of a mesh's file tells.
fn mesh_format(source: &Source) -> Result<FileFormat, Failure> {
    let key = source.config_map_key_ref.as_ref().map(|key| key.key.as_str());
    let name = source.uri.as_deref().or(key).unwrap_or_default();
    let name = name.split(['?', '#']).next().unwrap_or_default();
    FileFormat::of(name.as_ref())
        .map_err(|error| Failure::invalid(format!("spec.input.variant.mesh: {error}")))
}

fn sampling(spec: &GenerationJobSpec, stage: Option<&StageSampling>) -> Sampling {
    Sampling {
        steps: stage.and_then(|stage| stage.steps).unwrap_or_else(|| spec.quality.steps()).unsigned_abs(),
        cfg_strength: stage.and_then(|stage| stage.cfg_strength),
    }
}

fn finish(spec: &GenerationJobSpec) -> Finish {
    let mesh = &spec.output.mesh;
    Finish {
        texture_size: mesh.texture_size.unwrap_or_else(|| spec.quality.texture_size()).unsigned_abs(),
        simplify: mesh.simplify as f32,
        fill_holes: mesh.fill_holes,
    }
}

fn file_format(format: Format) -> FileFormat {
    match format {
        Format::Glb => FileFormat::Glb,
        Format::Obj => FileFormat::Obj,
        Format::Ply => FileFormat::Ply,
        Format::Stl => FileFormat::Stl,
        Format::Usdz => FileFormat::Usdz,
    }
}

#[cfg(test)]
mod tests {
    use trellis_crds::{FailureReason, ImageInput, Quality, TextInput, VariantInput};

    use super::*;

    fn source(uri: &str) -> Source {
        Source { uri: Some(uri.into()), config_map_key_ref: None }
    }

    fn spec() -> GenerationJobSpec {
        let mut spec = GenerationJobSpec::default();
        spec.input.image =
            Some(ImageInput { sources: vec![source("gs://bucket/cup.png")], ..Default::default() });
        spec
    }

    #[test]
    fn what_a_job_says_goes_before_its_quality() {
        let mut spec = spec();
        spec.quality = Quality::Fast;
        spec.sampling.seed = Some(7);
        spec.sampling.structured_latent = Some(StageSampling { steps: Some(3), cfg_strength: Some(2.5) });
        spec.output.mesh.texture_size = Some(4096);
        let order = Order::of(&spec).unwrap();
        assert_eq!(order.seed, 7);
        assert_eq!(order.sparse_structure, Sampling { steps: 12, cfg_strength: None });
        assert_eq!(order.structured_latent, Sampling { steps: 3, cfg_strength: Some(2.5) });
        assert_eq!(order.finish.texture_size, 4096);
    }

    #[test]
    fn a_quality_sets_what_the_tools_does() {
        for (ours, tools) in [
            (Quality::Fast, trellis::pipeline::Quality::Fast),
            (Quality::Balanced, trellis::pipeline::Quality::Balanced),
            (Quality::High, trellis::pipeline::Quality::High),
        ] {
            let preset = tools.preset();
            assert_eq!(ours.steps() as usize, preset.steps);
            assert_eq!(ours.texture_size() as u32, preset.texture_size);
        }
    }

    #[test]
    fn files_are_named_as_the_api_names_them() {
        for ours in [Format::Glb, Format::Obj, Format::Ply, Format::Stl, Format::Usdz] {
            let tools = file_format(ours);
            assert_eq!(serde_json::to_value(ours).unwrap(), tools.name());
            assert_eq!(trellis_crds::extension(tools.name()), tools.extension());
        }
    }

    #[test]
    fn each_kind_of_input_names_its_files() {
        let mut text = spec();
        text.input.image = None;
        text.input.text = Some(TextInput { prompt: "a cup".into() });
        assert_eq!(Order::of(&text).unwrap().input, Input::Text("a cup".into()));
        assert_eq!(text.input.sources().count(), 0);
        let mut variant = text.clone();
        variant.input.text = None;
        let mesh = source("https://host/cup.obj?version=2");
        variant.input.variant = Some(VariantInput { mesh: mesh.clone(), prompt: "rust".into() });
        assert_eq!(Order::of(&variant).unwrap().input, Input::Variant(FileFormat::Obj, "rust".into()));
        assert!(variant.input.sources().eq([&mesh]));
        variant.input.variant =
            Some(VariantInput { mesh: source("gs://bucket/cup.fbx"), ..Default::default() });
        let failure = Order::of(&variant).unwrap_err();
        assert_eq!(failure.reason, FailureReason::InvalidInput);
        assert!(failure.message.contains("variant.mesh") && failure.message.contains("glb"), "{failure:?}");
    }
}
