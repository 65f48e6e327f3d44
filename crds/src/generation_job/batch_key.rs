//! Which jobs a worker can compute together.

use super::{GenerationJobSpec, InputKind, MultiImageMode, StageSampling};

/// How a job is sampled. Jobs of equal keys, for one model, share forward passes.
///
/// It follows the plan by which the library groups requests, which groups again: a key that tells too little apart costs speed, never a
/// wrong asset.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchKey {
    input: InputKind,
    images: usize,
    multi_image_mode: MultiImageMode,
    /// Steps and guidance of the first stage; none where a mesh gives the structure.
    sparse_structure: Option<(i32, Option<f64>)>,
    structured_latent: (i32, Option<f64>),
}

impl GenerationJobSpec {
    /// Which other jobs this one can be computed with: those of an equal key. `None` for a job that makes several samples, which is a
    /// batch of its own, or without input.
    pub fn batch_key(&self) -> Option<BatchKey> {
        if self.sampling.samples != 1 {
            return None;
        }
        let input = self.input.kind()?;
        let image = self.input.image.as_ref();
        let stage = |stage: &Option<StageSampling>| {
            let steps = stage.as_ref().and_then(|stage| stage.steps).unwrap_or_else(|| self.quality.steps());
            (steps, stage.as_ref().and_then(|stage| stage.cfg_strength))
        };
        Some(BatchKey {
            input,
            images: image.map_or(0, |image| image.sources.len()),
            multi_image_mode: image.map(|image| image.multi_image_mode).unwrap_or_default(),
            sparse_structure: (input != InputKind::Variant).then(|| stage(&self.sampling.sparse_structure)),
            structured_latent: stage(&self.sampling.structured_latent),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn key(change: Value) -> Option<BatchKey> {
        let mut spec = json!({"input": {"image": {"sources": [{"uri": "gs://b/cup.png"}]}}});
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value::<GenerationJobSpec>(spec).unwrap().batch_key()
    }

    #[test]
    fn jobs_that_differ_in_picture_seed_and_files_fit_together() {
        let picture = json!({"input": {"image": {"sources": [{"uri": "gs://b/other.png"}]}}});
        let files =
            json!({"sampling": {"seed": 7}, "output": {"formats": ["ply"], "preview": false}, "priority": 3});
        assert!(key(json!({})).is_some());
        assert_eq!(key(json!({})), key(picture));
        assert_eq!(key(json!({})), key(files));
        // What quality means is what counts.
        let steps = json!({"quality": "fast", "sampling": {"sparseStructure": {"steps": 25}, "structuredLatent": {"steps": 25}}});
        assert_eq!(key(json!({})), key(steps));
    }

    #[test]
    fn jobs_that_are_sampled_otherwise_do_not_fit() {
        let views = json!([{"uri": "gs://b/a.png"}, {"uri": "gs://b/b.png"}]);
        let others = [
            json!({"quality": "fast"}),
            json!({"sampling": {"structuredLatent": {"steps": 3}}}),
            json!({"sampling": {"sparseStructure": {"cfgStrength": 3.0}}}),
            json!({"input": {"image": {"sources": views}}}),
            json!({"input": {"image": {"sources": views, "multiImageMode": "multidiffusion"}}}),
            json!({"input": {"text": {"prompt": "a cup"}}}),
            json!({"input": {"variant": {"mesh": {"uri": "gs://b/cup.glb"}, "prompt": "rust"}}}),
        ];
        let keys: Vec<_> = [json!({})].into_iter().chain(others).map(|other| key(other).unwrap()).collect();
        for (index, one) in keys.iter().enumerate() {
            assert!(!keys[index + 1..].contains(one), "{one:?}");
        }
    }

    #[test]
    fn a_job_of_several_samples_fits_with_none() {
        assert_eq!(key(json!({"sampling": {"samples": 2}})), None);
    }
}
