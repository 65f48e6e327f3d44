//! What a job asks of the model, checked and with every default filled in.

use trellis_crds::{Format, GenerationJobSpec, MultiImageMode, Source, StageSampling};

use crate::failure::Failure;

/// The output formats that this worker makes.
const FORMATS: [Format; 1] = [Format::Glb];

/// What a job asks of the model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Order {
    pub(crate) sources: Vec<Source>,
    pub(crate) multi_image_mode: MultiImageMode,
    /// The seed asked for, or one drawn at random.
    pub(crate) seed: u32,
    pub(crate) sparse_structure: Sampling,
    pub(crate) structured_latent: Sampling,
    pub(crate) preview: bool,
}

/// How one of the two stages samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampling {
    pub(crate) steps: u32,
    /// The model's own where there is none.
    pub(crate) cfg_strength: Option<f64>,
}

impl Order {
    /// Checks `spec` against what this worker can do.
    pub(crate) fn of(spec: &GenerationJobSpec) -> Result<Self, Failure> {
        let Some(image) = &spec.input.image else {
            return Err(Failure::invalid(
                "this worker's model takes images, not text; give spec.input.image",
            ));
        };
        if spec.sampling.samples != 1 {
            return Err(Failure::invalid(
                "this worker makes one sample of a job; create a job with another seed for each further one",
            ));
        }
        if let Some(format) = spec.output.formats.iter().find(|format| !FORMATS.contains(format)) {
            return Err(Failure::invalid(format!(
                "this worker does not make the format {}; it makes {}",
                name(*format),
                FORMATS.map(name).join(", ")
            )));
        }
        if spec.output.mesh.texture_size.is_some() {
            return Err(Failure::invalid(
                "this worker colours the mesh's vertices and makes no texture; leave spec.output.mesh.textureSize out",
            ));
        }
        let seed = match spec.sampling.seed {
            Some(seed) => {
                u32::try_from(seed).map_err(|_| Failure::invalid("spec.sampling.seed is not below 2^32"))?
            }
            None => rand::random(),
        };
        Ok(Self {
            sources: image.sources.clone(),
            multi_image_mode: image.multi_image_mode,
            seed,
            sparse_structure: sampling(spec, spec.sampling.sparse_structure.as_ref()),
            structured_latent: sampling(spec, spec.sampling.structured_latent.as_ref()),
            preview: spec.output.preview,
        })
    }
}

fn sampling(spec: &GenerationJobSpec, stage: Option<&StageSampling>) -> Sampling {
    Sampling {
        steps: stage.and_then(|stage| stage.steps).unwrap_or_else(|| spec.quality.steps()).unsigned_abs(),
        cfg_strength: stage.and_then(|stage| stage.cfg_strength),
    }
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Glb => "glb",
        Format::Obj => "obj",
        Format::Ply => "ply",
        Format::Stl => "stl",
        Format::Usdz => "usdz",
    }
}

#[cfg(test)]
mod tests {
    use trellis_crds::{FailureReason, ImageInput, Quality, TextInput};

    use super::*;

    fn spec() -> GenerationJobSpec {
        let source = Source { uri: Some("gs://bucket/cup.png".into()), config_map_key_ref: None };
        let mut spec = GenerationJobSpec::default();
        spec.input.image = Some(ImageInput { sources: vec![source], ..Default::default() });
        spec
    }

    #[test]
    fn what_a_job_says_goes_before_its_quality() {
        let mut spec = spec();
        spec.quality = Quality::Fast;
        spec.sampling.seed = Some(7);
        spec.sampling.structured_latent = Some(StageSampling { steps: Some(3), cfg_strength: Some(2.5) });
        let order = Order::of(&spec).unwrap();
        assert_eq!(order.seed, 7);
        assert_eq!(order.sparse_structure, Sampling { steps: 12, cfg_strength: None });
        assert_eq!(order.structured_latent, Sampling { steps: 3, cfg_strength: Some(2.5) });
    }

    #[test]
    fn what_the_worker_cannot_do_is_refused_with_what_it_can() {
        let mut text = spec();
        text.input.image = None;
        text.input.text = Some(TextInput { prompt: "a cup".into() });
        let mut samples = spec();
        samples.sampling.samples = 2;
        let mut format = spec();
        format.output.formats = vec![Format::Glb, Format::Usdz];
        let mut texture = spec();
        texture.output.mesh.texture_size = Some(1024);
        for (spec, hint) in [(text, "image"), (samples, "seed"), (format, "glb"), (texture, "vertices")] {
            let failure = Order::of(&spec).unwrap_err();
            assert_eq!(failure.reason, FailureReason::InvalidInput);
            assert!(failure.message.contains(hint), "{failure:?}");
        }
    }
}
