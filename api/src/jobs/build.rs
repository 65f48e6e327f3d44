//! From a request to a GenerationJob. Nothing here does IO.

use kube::api::ObjectMeta;
use sha2::{Digest as _, Sha256};
use trellis_crds as crds;
use trellis_crds::{GenerationJob, GenerationJobSpec, labels};
use ulid::Ulid;

use super::JobId;
use crate::auth::Caller;
use crate::request::{
    Deadlines, FileSource, Format, Generate, IdempotencyKey, Input, Mesh, MultiImageMode, Options, Quality,
    Sampling, Stage, Webhook, WebhookEvent, WhenFailing,
};

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

/// A digest of all that a request asks for: SHA-256 in lower-case hex. Keys are used again after an upgrade, so a request that was
/// possible in an earlier release has the digest that it had there.
#[must_use]
pub(crate) fn digest(request: &Generate) -> String {
    let spec = serde_json::to_string(&spec_of(&request.options, crds::Input::default()));
    let spec = spec.expect("a spec has no map whose keys are not strings");
    let when_failing = match request.options.when_failing.unwrap_or_default() {
        WhenFailing::Refuse => "",
        WhenFailing::Queue => "\nqueue",
    };
    sha256(format!("{}\n{spec}{when_failing}", source(&request.input)))
}

/// A line about an input that no other input has.
fn source(input: &Input) -> String {
    let file = |source: &FileSource| match source {
        FileSource::Url(url) => format!("url {url}"),
        FileSource::Bytes(bytes) => format!("file {}", sha256(bytes)),
    };
    match input {
        Input::Text(prompt) => format!("text {prompt}"),
        Input::Images(files, mode) => match (files.as_slice(), mode) {
            ([one], MultiImageMode::Stochastic) => file(&one.source),
            (files, mode) => {
                let files: Vec<_> = files.iter().map(|one| sha256(file(&one.source))).collect();
                format!("images {mode:?} {}", files.join(" "))
            }
        },
        Input::Variant(mesh, prompt) => format!("variant {} {prompt}", sha256(file(&mesh.source))),
    }
}

fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The object to create.
#[must_use]
pub(crate) fn job(id: &JobId, caller: &Caller, digest: String, spec: GenerationJobSpec) -> GenerationJob {
    let labels = [(labels::MANAGED_BY, labels::MANAGED_BY_API), (labels::USER, &caller.user)];
    let metadata = ObjectMeta {
        name: Some(id.as_str().to_owned()),
        namespace: Some(caller.namespace.clone()),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        annotations: Some([(REQUEST_DIGEST.to_owned(), digest)].into()),
        ..ObjectMeta::default()
    };
    GenerationJob { metadata, spec, status: None }
}

/// What `request` asks for, where its files lie at `uris`, in their order.
#[must_use]
pub(crate) fn spec(request: &Generate, uris: &[String]) -> GenerationJobSpec {
    let mut sources =
        uris.iter().map(|uri| crds::Source { uri: Some(uri.clone()), config_map_key_ref: None });
    let input = match &request.input {
        Input::Images(_, mode) => {
            let image = crds::ImageInput { sources: sources.collect(), multi_image_mode: (*mode).into() };
            crds::Input { image: Some(image), ..Default::default() }
        }
        Input::Text(prompt) => {
            crds::Input { text: Some(crds::TextInput { prompt: prompt.clone() }), ..Default::default() }
        }
        Input::Variant(_, prompt) => {
            let mesh = sources.next().unwrap_or_default();
            let variant = crds::VariantInput { mesh, prompt: prompt.clone() };
            crds::Input { variant: Some(variant), ..Default::default() }
        }
    };
    spec_of(&request.options, input)
}

/// What `request` asks for before its files are stored: enough to tell whether it may ask for that.
#[must_use]
pub(crate) fn draft(request: &Generate) -> GenerationJobSpec {
    let (_, files) = request.input.files();
    spec(request, &vec!["gs://inputs/to-come".to_owned(); files.len()])
}

fn spec_of(options: &Options, input: crds::Input) -> GenerationJobSpec {
    let default = GenerationJobSpec::default();
    let output = crds::Output {
        formats: match &options.output_formats {
            None => default.output.formats,
            Some(formats) => formats.iter().copied().map(Into::into).collect(),
        },
        preview: options.preview.unwrap_or(default.output.preview),
        mesh: mesh(options.mesh.as_ref()),
        destination: None,
    };
    GenerationJobSpec {
        input,
        model: options.model.clone(),
        quality: options.quality.map(Into::into).unwrap_or_default(),
        sampling: sampling(options),
        output,
        pool: options.pool.clone(),
        priority: options.priority.unwrap_or(default.priority),
        backoff_limit: options.backoff_limit.unwrap_or(default.backoff_limit),
        deadlines: deadlines(options.deadlines.as_ref()),
        ttl_seconds_after_finished: options.ttl_seconds_after_finished,
        ttl_seconds_after_failed: options.ttl_seconds_after_failed,
        webhook: options.webhook.as_ref().map(webhook),
        suspend: default.suspend,
        cancel: default.cancel,
    }
}

fn sampling(options: &Options) -> crds::Sampling {
    let stage = |stage: &Stage| crds::StageSampling { steps: stage.steps, cfg_strength: stage.cfg_strength };
    let Sampling { sparse_structure, structured_latent } = options.sampling.clone().unwrap_or_default();
    crds::Sampling {
        seed: options.seed,
        samples: options.samples.unwrap_or(crds::Sampling::default().samples),
        sparse_structure: sparse_structure.as_ref().map(stage),
        structured_latent: structured_latent.as_ref().map(stage),
    }
}

fn mesh(mesh: Option<&Mesh>) -> crds::MeshOutput {
    let default = crds::MeshOutput::default();
    let Some(mesh) = mesh else { return default };
    crds::MeshOutput {
        simplify: mesh.simplify.unwrap_or(default.simplify),
        texture_size: mesh.texture_size,
        fill_holes: mesh.fill_holes.unwrap_or(default.fill_holes),
    }
}

fn deadlines(deadlines: Option<&Deadlines>) -> crds::Deadlines {
    let default = crds::Deadlines::default();
    let Some(deadlines) = deadlines else { return default };
    crds::Deadlines {
        queue_seconds: deadlines.queue_seconds,
        start_seconds: deadlines.start_seconds.unwrap_or(default.start_seconds),
        run_seconds: deadlines.run_seconds.unwrap_or(default.run_seconds),
    }
}

fn webhook(webhook: &Webhook) -> crds::Webhook {
    let default = crds::Webhook::default();
    let events = webhook.events.as_ref().map(|events| events.iter().copied().map(Into::into).collect());
    crds::Webhook { url: webhook.url.clone(), events: events.unwrap_or(default.events) }
}

impl From<MultiImageMode> for crds::MultiImageMode {
    fn from(mode: MultiImageMode) -> Self {
        match mode {
            MultiImageMode::Stochastic => Self::Stochastic,
            MultiImageMode::Multidiffusion => Self::Multidiffusion,
        }
    }
}

impl From<WebhookEvent> for crds::WebhookEvent {
    fn from(event: WebhookEvent) -> Self {
        match event {
            WebhookEvent::Start => Self::Start,
            WebhookEvent::Progress => Self::Progress,
            WebhookEvent::Completed => Self::Completed,
            WebhookEvent::Failed => Self::Failed,
            WebhookEvent::Cancelled => Self::Cancelled,
        }
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

/// Where the field `path` of a GenerationJob, as the API server names it, stands in a request: the names that lead to it.
#[must_use]
pub(crate) fn request_path(path: &str) -> Vec<String> {
    let path = path.replace('[', ".").replace(']', "");
    let segments: Vec<String> =
        path.split('.').filter(|segment| !segment.is_empty()).map(snake_case).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let own = match segments.as_slice() {
        ["spec", "input", "image", "multi_image_mode"] => &["multi_image_mode"],
        ["spec", "input", "text" | "variant", "prompt"] => &["prompt"],
        // What is wrong with where the files were stored is no field's fault.
        ["spec", "input", ..] => &[][..],
        ["spec", "sampling", rest @ ("seed" | "samples")] => std::slice::from_ref(rest),
        ["spec", "output", "formats", rest @ ..] => {
            return ["output_formats"].iter().chain(rest).map(ToString::to_string).collect();
        }
        ["spec", "output", rest @ ..] | ["spec", rest @ ..] => rest,
        other => other,
    };
    own.iter().map(ToString::to_string).collect()
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
    use crate::request::{File, WhenFailing};

    fn alice() -> Caller {
        Caller::of("alice", "team")
    }

    fn request(input: Input) -> Generate {
        Generate { input, options: Options::default() }
    }

    fn text(prompt: &str) -> Generate {
        request(Input::Text(prompt.into()))
    }

    fn url(url: &str) -> File {
        File { pointer: "/image_url".into(), source: FileSource::Url(url.into()) }
    }

    fn file(bytes: &'static [u8]) -> File {
        File { pointer: "/image".into(), source: FileSource::Bytes(bytes.into()) }
    }

    fn images(files: Vec<File>) -> Generate {
        request(Input::Images(files, MultiImageMode::Stochastic))
    }

    #[test]
    fn what_a_request_leaves_out_gets_the_defaults_of_the_resource() {
        let spec = spec(&text("a chest"), &[]);
        assert_eq!(spec, GenerationJobSpec { input: spec.input.clone(), ..Default::default() });
    }

    #[test]
    fn what_a_request_says_arrives_in_the_job() {
        let stage = |steps| Some(Stage { steps: Some(steps), cfg_strength: Some(7.5) });
        let options = Options {
            output_formats: Some(vec![Format::Usdz, Format::Glb]),
            preview: Some(false),
            quality: Some(Quality::High),
            seed: Some(42),
            samples: Some(2),
            pool: Some("large".into()),
            model: Some("tiny".into()),
            priority: Some(-5),
            backoff_limit: Some(0),
            sampling: Some(Sampling { sparse_structure: stage(3), structured_latent: stage(4) }),
            mesh: Some(Mesh { simplify: Some(0.5), texture_size: Some(2048), fill_holes: Some(false) }),
            deadlines: Some(Deadlines {
                queue_seconds: Some(60),
                start_seconds: Some(61),
                run_seconds: Some(62),
            }),
            ttl_seconds_after_finished: Some(63),
            ttl_seconds_after_failed: Some(64),
            webhook: Some(Webhook {
                url: "https://example.com/done".into(),
                events: Some(vec![WebhookEvent::Progress, WebhookEvent::Completed]),
            }),
            when_failing: Some(WhenFailing::Queue),
        };
        let input = Input::Images(vec![file(b"front"), file(b"back")], MultiImageMode::Multidiffusion);
        let request = Generate { input, options };
        let id = id(&alice(), None);
        let uris = ["gs://inputs/front.png".to_owned(), "gs://inputs/back.png".to_owned()];
        let job = job(&id, &alice(), digest(&request), spec(&request, &uris));

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
                "input": {"image": {
                    "sources": [{"uri": "gs://inputs/front.png"}, {"uri": "gs://inputs/back.png"}],
                    "multiImageMode": "multidiffusion",
                }},
                "model": "tiny",
                "quality": "high",
                "sampling": {
                    "seed": 42,
                    "samples": 2,
                    "sparseStructure": {"steps": 3, "cfgStrength": 7.5},
                    "structuredLatent": {"steps": 4, "cfgStrength": 7.5},
                },
                "output": {
                    "formats": ["usdz", "glb"],
                    "mesh": {"simplify": 0.5, "textureSize": 2048, "fillHoles": false},
                    "preview": false,
                },
                "pool": "large",
                "priority": -5,
                "backoffLimit": 0,
                "deadlines": {"queueSeconds": 60, "startSeconds": 61, "runSeconds": 62},
                "ttlSecondsAfterFinished": 63,
                "ttlSecondsAfterFailed": 64,
                "suspend": false,
                "cancel": false,
                "webhook": {"url": "https://example.com/done", "events": ["progress", "completed"]},
            },
        });
        assert_eq!(serde_json::to_value(&job).unwrap(), expected);
    }

    #[test]
    fn a_variant_is_made_of_a_mesh_and_words() {
        let variant = request(Input::Variant(file(b"glTF"), "rust".into()));
        let input = spec(&variant, &["gs://inputs/mesh.glb".to_owned()]).input;
        let expected =
            serde_json::json!({"variant": {"mesh": {"uri": "gs://inputs/mesh.glb"}, "prompt": "rust"}});
        assert_eq!(serde_json::to_value(input).unwrap(), expected);
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
        fn with(change: impl FnOnce(&mut Options)) -> Generate {
            let mut request = text("a chest");
            change(&mut request.options);
            request
        }
        let requests = [
            text("a chest"),
            text("a cup"),
            images(vec![url("a chest")]),
            images(vec![file(b"a chest")]),
            images(vec![url("a"), url("b")]),
            images(vec![url("b"), url("a")]),
            images(vec![url("a\nurl b")]),
            images(vec![url("a"), url("a")]),
            request(Input::Images(vec![url("a")], MultiImageMode::Multidiffusion)),
            request(Input::Images(vec![url("a"), url("b")], MultiImageMode::Multidiffusion)),
            request(Input::Variant(file(b"a"), "rust".into())),
            request(Input::Variant(url("a"), "rust".into())),
            request(Input::Variant(url("a"), "moss".into())),
            with(|options| options.output_formats = Some(vec![Format::Usdz])),
            with(|options| options.preview = Some(false)),
            with(|options| options.quality = Some(Quality::Fast)),
            with(|options| options.seed = Some(1)),
            with(|options| options.samples = Some(2)),
            with(|options| {
                let stage = Some(Stage { steps: Some(3), cfg_strength: None });
                options.sampling = Some(Sampling { sparse_structure: stage, structured_latent: None });
            }),
            with(|options| options.mesh = Some(Mesh { fill_holes: Some(false), ..Mesh::default() })),
            with(|options| options.model = Some("a".into())),
            with(|options| options.pool = Some("a".into())),
            with(|options| options.priority = Some(1)),
            with(|options| options.backoff_limit = Some(1)),
            with(|options| {
                options.deadlines = Some(Deadlines { queue_seconds: Some(1), ..Deadlines::default() });
            }),
            with(|options| options.ttl_seconds_after_finished = Some(1)),
            with(|options| options.ttl_seconds_after_failed = Some(1)),
            with(|options| options.webhook = Some(Webhook { url: "https://a".into(), events: None })),
            with(|options| {
                let events = Some(vec![WebhookEvent::Start]);
                options.webhook = Some(Webhook { url: "https://a".into(), events });
            }),
            with(|options| options.when_failing = Some(WhenFailing::Queue)),
        ];
        let digests = requests.map(|request| digest(&request));
        for (i, a) in digests.iter().enumerate() {
            assert!(!digests[..i].contains(a), "{i}");
        }
        assert_eq!(digest(&text("a chest")), digests[0]);
    }

    /// As release 0.1 made them: a key that a client used there leads to the same job after an upgrade.
    #[test]
    fn the_digest_of_a_request_stays_what_it_was() {
        let spec = r#"{"input":{},"quality":"balanced","sampling":{"samples":1},"output":{"formats":["glb"],"mesh":{"simplify":0.95,"fillHoles":true},"preview":true},"priority":0,"backoffLimit":3,"deadlines":{"startSeconds":300,"runSeconds":3600},"suspend":false,"cancel":false}"#;
        let was = |source: String| sha256(format!("{source}\n{spec}"));
        assert_eq!(digest(&text("a chest")), was("text a chest".into()));
        assert_eq!(digest(&images(vec![url("https://a/b.png")])), was("url https://a/b.png".into()));
        assert_eq!(digest(&images(vec![file(b"png")])), was(format!("file {}", sha256("png"))));
    }

    #[test]
    fn fields_of_the_resource_are_named_as_the_request_names_them() {
        for (field, path) in [
            ("spec.sampling.seed", "seed"),
            ("spec.sampling.samples", "samples"),
            ("spec.sampling.sparseStructure.steps", "sampling.sparse_structure.steps"),
            ("spec.sampling.structuredLatent.cfgStrength", "sampling.structured_latent.cfg_strength"),
            ("spec.output.formats[1]", "output_formats.1"),
            ("spec.output.mesh.textureSize", "mesh.texture_size"),
            ("spec.output.preview", "preview"),
            ("spec.input.text.prompt", "prompt"),
            ("spec.input.variant.prompt", "prompt"),
            ("spec.input.image.multiImageMode", "multi_image_mode"),
            ("spec.input.image.sources[0].uri", ""),
            ("spec.deadlines.queueSeconds", "deadlines.queue_seconds"),
            ("spec.ttlSecondsAfterFailed", "ttl_seconds_after_failed"),
            ("spec.webhook.url", "webhook.url"),
            ("spec.pool", "pool"),
            ("spec", ""),
            ("", ""),
        ] {
            assert_eq!(request_path(field).join("."), path, "{field}");
        }
    }
}
