//! From a request to a GenerationJob. Nothing here does IO.

use kube::api::ObjectMeta;
use sha2::{Digest as _, Sha256};
use trellis_crds as crds;
use trellis_crds::{GenerationJob, GenerationJobSpec, labels};
use ulid::Ulid;

use super::JobId;
use crate::auth::Caller;
use crate::request::{Format, Generate, IdempotencyKey, Input, Mesh, Options, Quality, Sampling, Stage};

/// The annotation that says which request a job answers, so that an Idempotency-Key used for another one is noticed.
pub(crate) const REQUEST_DIGEST: &str = "trellis3d.dev/request-digest";

/// The id of a new job: a random one, or the one that this user's idempotency key always leads to.
#[must_use]
pub(crate) fn id(caller: &Caller, key: Option<&IdempotencyKey>) -> JobId {
    let ulid = match key {
        None => Ulid::generate(),
        Some(IdempotencyKey(key)) => {
            let digest = Sha256::digest(format!("{}\0{}\0{key}", caller.namespace, caller.user));
            let (bytes, _) = digest.split_first_chunk::<16>().expect("a SHA-256 sum has 32 bytes");
            let mut bytes = *bytes;
            // Thousands of years ahead, so that no such job passes for an old one: `JobId::may_be_new`.
            bytes[0] |= 0x80;
            Ulid::from_bytes(bytes)
        }
    };
    JobId::new(ulid)
}

/// A digest of all that a request asks for: SHA-256 in lower-case hex.
#[must_use]
pub(crate) fn digest(request: &Generate) -> String {
    let source = match &request.input {
        Input::ImageUrl(url) => format!("url {url}"),
        Input::ImageFile(bytes) => format!("file {}", hex::encode(Sha256::digest(bytes))),
        Input::Text(prompt) => format!("text {prompt}"),
    };
    let spec = serde_json::to_string(&spec(&request.options, crds::Input::default()));
    let spec = spec.expect("a spec has no map whose keys are not strings");
    hex::encode(Sha256::digest(format!("{source}\n{spec}")))
}

/// What the job is made from: the image at `uri`, or the words.
#[must_use]
pub(crate) fn input(request: &Generate, uri: Option<String>) -> crds::Input {
    match &request.input {
        Input::Text(prompt) => {
            crds::Input { text: Some(crds::TextInput { prompt: prompt.clone() }), ..Default::default() }
        }
        Input::ImageUrl(_) | Input::ImageFile(_) => {
            let source = crds::Source { uri, config_map_key_ref: None };
            let image = crds::ImageInput { sources: vec![source], ..Default::default() };
            crds::Input { image: Some(image), ..Default::default() }
        }
    }
}

/// The object to create.
#[must_use]
pub(crate) fn job(id: &JobId, caller: &Caller, request: &Generate, input: crds::Input) -> GenerationJob {
    let labels = [(labels::MANAGED_BY, labels::MANAGED_BY_API), (labels::USER, &caller.user)];
    let metadata = ObjectMeta {
        name: Some(id.as_str().to_owned()),
        namespace: Some(caller.namespace.clone()),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        annotations: Some([(REQUEST_DIGEST.to_owned(), digest(request))].into()),
        ..ObjectMeta::default()
    };
    GenerationJob { metadata, spec: spec(&request.options, input), status: None }
}

fn spec(options: &Options, input: crds::Input) -> GenerationJobSpec {
    let output = crds::Output {
        mesh: mesh(&options.mesh),
        ..match options.output_formats.as_slice() {
            [] => crds::Output::default(),
            formats => crds::Output {
                formats: formats.iter().copied().map(Into::into).collect(),
                ..Default::default()
            },
        }
    };
    GenerationJobSpec {
        input,
        quality: options.quality.map(Into::into).unwrap_or_default(),
        sampling: sampling(&options.sampling, options.seed),
        output,
        pool: options.pool.clone(),
        ..GenerationJobSpec::default()
    }
}

fn sampling(sampling: &Sampling, seed: Option<i64>) -> crds::Sampling {
    let stage = |stage: &Stage| crds::StageSampling { steps: stage.steps, cfg_strength: stage.cfg_strength };
    crds::Sampling {
        seed,
        sparse_structure: sampling.sparse_structure.as_ref().map(stage),
        structured_latent: sampling.structured_latent.as_ref().map(stage),
        ..crds::Sampling::default()
    }
}

fn mesh(mesh: &Mesh) -> crds::MeshOutput {
    let default = crds::MeshOutput::default();
    crds::MeshOutput {
        simplify: mesh.simplify.unwrap_or(default.simplify),
        texture_size: mesh.texture_size,
        ..default
    }
}

impl From<Format> for crds::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Glb => Self::Glb,
            Format::Obj => Self::Obj,
            Format::Ply => Self::Ply,
            Format::Stl => Self::Stl,
            Format::Usdz => Self::Usdz,
        }
    }
}

impl From<Quality> for crds::Quality {
    fn from(quality: Quality) -> Self {
        match quality {
            Quality::Fast => Self::Fast,
            Quality::Balanced => Self::Balanced,
            Quality::High => Self::High,
        }
    }
}

/// Where the field `path` of a GenerationJob, as the API server names it, stands in a request: a JSON pointer.
#[must_use]
pub(crate) fn request_pointer(path: &str) -> String {
    let path = path.replace('[', ".").replace(']', "");
    let segments: Vec<String> =
        path.split('.').filter(|segment| !segment.is_empty()).map(snake_case).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let own = match segments.as_slice() {
        ["spec", "input", "text", rest @ ..] => rest.to_vec(),
        ["spec", "input", ..] => vec!["image_url"],
        ["spec", "sampling", "seed"] => vec!["seed"],
        ["spec", "output", "formats", rest @ ..] => [&["output_formats"], rest].concat(),
        ["spec", "output", rest @ ..] | ["spec", rest @ ..] => rest.to_vec(),
        other => other.to_vec(),
    };
    crate::request::pointer(&own)
}

fn snake_case(name: &str) -> String {
    name.chars().fold(String::new(), |mut snake, letter| {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
        snake
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn alice() -> Caller {
        Caller { user: "alice".into(), namespace: "team".into() }
    }

    fn text(prompt: &str) -> Generate {
        Generate { input: Input::Text(prompt.into()), options: Options::default() }
    }

    #[test]
    fn what_a_request_leaves_out_gets_the_defaults_of_the_resource() {
        let request = text("a chest");
        let job = job(&id(&alice(), None), &alice(), &request, input(&request, None));
        assert_eq!(job.spec, GenerationJobSpec { input: input(&request, None), ..Default::default() });
    }

    #[test]
    fn what_a_request_says_arrives_in_the_spec() {
        let stage = |steps| Some(Stage { steps: Some(steps), cfg_strength: Some(7.5) });
        let options = Options {
            output_formats: vec![Format::Usdz, Format::Glb],
            quality: Some(Quality::High),
            seed: Some(42),
            pool: Some("large".into()),
            sampling: Sampling { sparse_structure: stage(3), structured_latent: stage(4) },
            mesh: Mesh { simplify: Some(0.5), texture_size: Some(2048) },
        };
        let request = Generate { input: Input::ImageFile(Bytes::from_static(b"png")), options };
        let input = input(&request, Some("gs://inputs/image.png".into()));
        let id = id(&alice(), None);
        let job = job(&id, &alice(), &request, input);

        let expected = serde_json::json!({
            "apiVersion": "trellis3d.dev/v1alpha1",
            "kind": "GenerationJob",
            "metadata": {
                "name": id.as_str(),
                "namespace": "team",
                "labels": {"app.kubernetes.io/managed-by": "trellis-api", "trellis3d.dev/user": "alice"},
                "annotations": {"trellis3d.dev/request-digest": digest(&request)},
            },
            "spec": {
                "input": {"image": {"sources": [{"uri": "gs://inputs/image.png"}], "multiImageMode": "stochastic"}},
                "quality": "high",
                "sampling": {
                    "seed": 42,
                    "samples": 1,
                    "sparseStructure": {"steps": 3, "cfgStrength": 7.5},
                    "structuredLatent": {"steps": 4, "cfgStrength": 7.5},
                },
                "output": {
                    "formats": ["usdz", "glb"],
                    "mesh": {"simplify": 0.5, "textureSize": 2048, "fillHoles": true},
                    "preview": true,
                },
                "pool": "large",
                "priority": 0,
                "backoffLimit": 3,
                "deadlines": {"startSeconds": 300, "runSeconds": 3600},
                "suspend": false,
                "cancel": false,
            },
        });
        assert_eq!(serde_json::to_value(&job).unwrap(), expected);
    }

    #[test]
    fn an_idempotency_key_leads_to_one_id_for_each_user() {
        let key = IdempotencyKey("order-7".into());
        let bob = Caller { user: "bob".into(), ..alice() };
        let elsewhere = Caller { namespace: "other".into(), ..alice() };
        let first = id(&alice(), Some(&key));
        assert_eq!(first, id(&alice(), Some(&key)));
        assert_eq!(JobId::parse(first.as_str()).as_ref(), Some(&first));
        assert!(first.may_be_new(std::time::SystemTime::now()));
        for other in [id(&bob, Some(&key)), id(&elsewhere, Some(&key)), id(&alice(), None)] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn the_digest_tells_requests_apart() {
        let mut seeded = text("a chest");
        seeded.options.seed = Some(1);
        let url = Generate { input: Input::ImageUrl("a chest".into()), options: Options::default() };
        let file = Generate { input: Input::ImageFile("a chest".into()), options: Options::default() };
        let digests = [text("a chest"), text("a cup"), seeded, url, file].map(|request| digest(&request));
        for (i, a) in digests.iter().enumerate() {
            assert!(!digests[..i].contains(a), "{i}");
        }
        assert_eq!(digest(&text("a chest")), digests[0]);
    }

    #[test]
    fn fields_of_the_resource_are_named_as_the_request_names_them() {
        for (field, pointer) in [
            ("spec.sampling.seed", "/seed"),
            ("spec.sampling.sparseStructure.steps", "/sampling/sparse_structure/steps"),
            ("spec.sampling.structuredLatent.cfgStrength", "/sampling/structured_latent/cfg_strength"),
            ("spec.output.formats[1]", "/output_formats/1"),
            ("spec.output.mesh.textureSize", "/mesh/texture_size"),
            ("spec.input.text.prompt", "/prompt"),
            ("spec.input.image.sources[0].uri", "/image_url"),
            ("spec.pool", "/pool"),
            ("spec", ""),
            ("", ""),
        ] {
            assert_eq!(request_pointer(field), pointer, "{field}");
        }
    }
}
