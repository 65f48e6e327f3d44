//! The custom resources as a real API server takes them: what it accepts, what it refuses and with which words, and what it adds.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kube::api::{ApiResource, ListParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use trellis_e2e::{ApiServer, Namespace, install_crds, paths};

/// A namespace on a server that knows the definitions.
async fn namespace(prefix: &str) -> Result<(Client, Namespace)> {
    let client = ApiServer::shared().await?.client().await?;
    install_crds(&client).await?;
    let namespace = Namespace::create(&client, prefix).await?;
    Ok((client, namespace))
}

fn resource(kind: &str) -> ApiResource {
    let (group, version) = ("trellis3d.dev", "v1alpha1");
    ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: format!("{group}/{version}"),
        kind: kind.into(),
        plural: format!("{}s", kind.to_lowercase()),
    }
}

/// The API for objects of one kind as plain JSON: a test sends what the Rust types cannot say.
fn api(client: &Client, namespace: &Namespace, kind: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace.name(), &resource(kind))
}

fn object(kind: &str, name: &str, spec: Value) -> DynamicObject {
    DynamicObject::new(name, &resource(kind)).data(json!({ "spec": spec }))
}

fn job(name: &str, spec: Value) -> DynamicObject {
    object("GenerationJob", name, spec)
}

fn pool(name: &str, spec: Value) -> DynamicObject {
    object("WorkerPool", name, spec)
}

/// `valid` with the fields that `yaml` gives.
fn with(mut valid: Value, yaml: &str) -> Result<Value> {
    let fields: Value = serde_yaml::from_str(yaml).with_context(|| format!("not YAML: {yaml}"))?;
    for (name, value) in fields.as_object().context("not a mapping")? {
        valid[name] = value.clone();
    }
    Ok(valid)
}

fn valid_job() -> Value {
    json!({ "input": { "image": { "sources": [{ "uri": "gs://bucket/cup.png" }] } } })
}

fn valid_pool() -> Value {
    json!({
        "model": "tiny",
        "modelUri": "gs://bucket/models/tiny",
        "template": { "spec": { "containers": [{ "name": "worker", "image": "worker" }] } },
    })
}

/// Says what is wrong with `result`, unless it is a refusal that names `field` and says `message`.
fn expect_refusal(result: Result<DynamicObject, kube::Error>, field: &str, message: &str) -> Result<()> {
    let refusal = match result {
        Ok(_) => bail!("accepted"),
        Err(kube::Error::Api(status)) => *status,
        Err(other) => return Err(other.into()),
    };
    let causes = refusal.details.iter().flat_map(|details| &details.causes);
    match causes.into_iter().any(|cause| cause.field == field && cause.message.contains(message)) {
        true => Ok(()),
        false => bail!("refused otherwise: {refusal:#?}"),
    }
}

/// What a job may not say, the field that the refusal names, and a part of its message.
#[rustfmt::skip]
const REFUSED_JOBS: &[(&str, &str, &str)] = &[
    ("input: {}", "spec.input", "give exactly one of image, text and variant"),
    ("input: {text: {prompt: cup}, image: {sources: [{uri: 'gs://b/o'}]}}", "spec.input", "give exactly one of image, text and variant"),
    ("input: {image: {}}", "spec.input.image.sources", "Required value"),
    ("input: {image: {sources: []}}", "spec.input.image.sources", "should have at least 1 items"),
    ("input: {image: {sources: [{}, {}, {}, {}, {}, {}, {}, {}, {}]}}", "spec.input.image.sources", "must have at most 8 items"),
    ("input: {image: {sources: [{}]}}", "spec.input.image.sources[0]", "give exactly one of uri and configMapKeyRef"),
    ("input: {image: {sources: [{uri: 'gs://b/o', configMapKeyRef: {name: a, key: b}}]}}", "spec.input.image.sources[0]", "give exactly one of uri and configMapKeyRef"),
    ("input: {image: {sources: [{uri: 'http://example.com/cup.png'}]}}", "spec.input.image.sources[0].uri", "write gs://bucket/object, https://host/path or file:///path"),
    ("input: {image: {sources: [{uri: 'gs://bucket'}]}}", "spec.input.image.sources[0].uri", "write gs://bucket/object"),
    ("input: {image: {sources: [{uri: 'cup.png'}]}}", "spec.input.image.sources[0].uri", "write gs://bucket/object"),
    ("input: {image: {sources: [{configMapKeyRef: {name: photo}}]}}", "spec.input.image.sources[0].configMapKeyRef.key", "Required value"),
    ("input: {image: {sources: [{uri: 'gs://b/o'}], multiImageMode: all}}", "spec.input.image.multiImageMode", "supported values: \"stochastic\", \"multidiffusion\""),
    ("input: {text: {prompt: ''}}", "spec.input.text.prompt", "should be at least 1 chars long"),
    ("input: {variant: {prompt: rusty iron}}", "spec.input.variant.mesh", "Required value"),
    ("input: {variant: {prompt: rusty iron, mesh: {}}}", "spec.input.variant.mesh", "give exactly one of uri and configMapKeyRef"),
    ("model: ''", "spec.model", "should be at least 1 chars long"),
    ("quality: best", "spec.quality", "supported values: \"fast\", \"balanced\", \"high\""),
    ("sampling: {samples: 0}", "spec.sampling.samples", "should be greater than or equal to 1"),
    ("sampling: {samples: 5}", "spec.sampling.samples", "should be less than or equal to 4"),
    ("sampling: {seed: -1}", "spec.sampling.seed", "should be greater than or equal to 0"),
    ("sampling: {sparseStructure: {steps: 201}}", "spec.sampling.sparseStructure.steps", "should be less than or equal to 200"),
    ("sampling: {structuredLatent: {steps: 0}}", "spec.sampling.structuredLatent.steps", "should be greater than or equal to 1"),
    ("sampling: {structuredLatent: {cfgStrength: 20.5}}", "spec.sampling.structuredLatent.cfgStrength", "should be less than or equal to 20"),
    ("output: {formats: []}", "spec.output.formats", "should have at least 1 items"),
    ("output: {formats: [glb, glb]}", "spec.output.formats[1]", "Duplicate value"),
    ("output: {formats: [fbx]}", "spec.output.formats[0]", "supported values: \"glb\""),
    ("output: {mesh: {simplify: 1}}", "spec.output.mesh.simplify", "write a number from 0 to 0.99"),
    ("output: {mesh: {textureSize: 1000}}", "spec.output.mesh.textureSize", "write 512, 1024, 2048 or 4096"),
    ("output: {destination: 'https://example.com/assets'}", "spec.output.destination", "write gs://bucket/prefix or file:///path"),
    ("pool: ''", "spec.pool", "should be at least 1 chars long"),
    ("priority: 1001", "spec.priority", "should be less than or equal to 1000"),
    ("backoffLimit: 21", "spec.backoffLimit", "should be less than or equal to 20"),
    ("backoffLimit: -1", "spec.backoffLimit", "should be greater than or equal to 0"),
    ("deadlines: {queueSeconds: 0}", "spec.deadlines.queueSeconds", "should be greater than or equal to 1"),
    ("deadlines: {runSeconds: 0}", "spec.deadlines.runSeconds", "should be greater than or equal to 1"),
    ("deadlines: {startSeconds: soon}", "spec.deadlines.startSeconds", "must be of type integer"),
    ("ttlSecondsAfterFinished: -1", "spec.ttlSecondsAfterFinished", "should be greater than or equal to 0"),
    ("ttlSecondsAfterFailed: -1", "spec.ttlSecondsAfterFailed", "should be greater than or equal to 0"),
    ("webhook: {}", "spec.webhook.url", "Required value"),
    ("webhook: {url: 'http://example.com/done'}", "spec.webhook.url", "write https://host/path"),
    ("webhook: {url: 'https://example.com/done', events: []}", "spec.webhook.events", "should have at least 1 items"),
    ("webhook: {url: 'https://example.com/done', events: [failed, failed]}", "spec.webhook.events[1]", "Duplicate value"),
    ("webhook: {url: 'https://example.com/done', events: [begun]}", "spec.webhook.events[0]", "supported values: \"start\", \"progress\", \"completed\", \"failed\", \"cancelled\""),
];

/// What a pool may not say, the field that the refusal names, and a part of its message.
#[rustfmt::skip]
const REFUSED_POOLS: &[(&str, &str, &str)] = &[
    ("model: ''", "spec.model", "should be at least 1 chars long"),
    ("modelUri: models/tiny", "spec.modelUri", "write gs://bucket/prefix or file:///path"),
    ("inputs: []", "spec.inputs", "should have at least 1 items"),
    ("inputs: [image, image]", "spec.inputs[1]", "Duplicate value"),
    ("inputs: [video]", "spec.inputs[0]", "supported values: \"image\", \"text\", \"variant\""),
    ("replicas: {min: 3, max: 2}", "spec.replicas", "min must not be larger than max"),
    ("replicas: {min: -1}", "spec.replicas.min", "should be greater than or equal to 0"),
    ("replicas: {max: 0}", "spec.replicas.max", "should be greater than or equal to 1"),
    ("idleSeconds: -1", "spec.idleSeconds", "should be greater than or equal to 0"),
    ("maxJobsPerWorker: -1", "spec.maxJobsPerWorker", "should be greater than or equal to 0"),
    ("batchSize: 17", "spec.batchSize", "should be less than or equal to 16"),
    ("accelerator: {resource: gpu}", "spec.accelerator.resource", "write the resource with its domain, such as nvidia.com/gpu"),
    ("accelerator: {count: 1}", "spec.accelerator.resource", "Required value"),
    ("accelerator: {resource: nvidia.com/gpu, count: 0}", "spec.accelerator.count", "should be greater than or equal to 1"),
    ("template: {}", "spec.template.spec", "Required value"),
    ("template: {spec: {containers: [{name: main}]}}", "spec.template", "name one of spec.containers worker"),
    ("queueName: ''", "spec.queueName", "should be at least 1 chars long"),
];

#[tokio::test]
async fn what_cannot_run_is_refused_with_its_field_and_what_to_write() -> Result<()> {
    let (client, namespace) = namespace("refused").await?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let mut wrong = Vec::new();
    for (api, valid, table) in [
        (api(&client, &namespace, "GenerationJob"), job("x", valid_job()), REFUSED_JOBS),
        (api(&client, &namespace, "WorkerPool"), pool("x", valid_pool()), REFUSED_POOLS),
    ] {
        api.create(&dry_run, &valid).await.context("the valid object that the cases start from")?;
        for (yaml, field, message) in table {
            let mut case = valid.clone();
            case.data["spec"] = with(valid.data["spec"].clone(), yaml)?;
            if let Err(error) = expect_refusal(api.create(&dry_run, &case).await, field, message) {
                wrong.push(format!("{yaml}\n  should be refused at {field}: {message}\n  {error:#}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    namespace.delete().await
}

#[tokio::test]
async fn names_too_long_for_labels_and_pods_are_refused() -> Result<()> {
    let (client, namespace) = namespace("names").await?;
    let long = job(&"j".repeat(64), valid_job());
    let refused = api(&client, &namespace, "GenerationJob").create(&PostParams::default(), &long).await;
    expect_refusal(refused, "<nil>", "metadata.name must have at most 63 characters")?;
    let long = pool(&"p".repeat(51), valid_pool());
    let refused = api(&client, &namespace, "WorkerPool").create(&PostParams::default(), &long).await;
    expect_refusal(refused, "<nil>", "metadata.name must have at most 50 characters")?;
    namespace.delete().await
}

#[tokio::test]
async fn every_example_is_accepted_without_unknown_fields() -> Result<()> {
    let (client, namespace) = namespace("examples").await?;
    let mut accepted = 0;
    for file in yaml_files(&paths::source().join("examples"))? {
        let text = std::fs::read_to_string(&file)?;
        let document: Value = serde_yaml::from_str(&text).with_context(|| file.display().to_string())?;
        let api = match document["kind"].as_str() {
            Some("GenerationJob") => api(&client, &namespace, "GenerationJob"),
            Some("WorkerPool") => api(&client, &namespace, "WorkerPool"),
            _ => continue,
        };
        let name = document["metadata"]["name"].as_str().context("no metadata.name")?;
        let strict = PatchParams::apply("example").validation_strict();
        api.patch(name, &strict, &Patch::Apply(&document))
            .await
            .with_context(|| file.display().to_string())?;
        accepted += 1;
    }
    assert!(accepted >= 7, "only {accepted} examples were found");
    namespace.delete().await
}

/// What there is to apply: the states that other tools are tested with are none of it.
fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.ends_with("testdata") {
            continue;
        }
        if path.is_dir() {
            files.extend(yaml_files(&path)?);
        } else if path.extension().is_some_and(|e| e == "yaml") {
            files.push(path);
        }
    }
    Ok(files)
}

#[tokio::test]
async fn a_job_that_says_only_its_input_gets_the_defaults() -> Result<()> {
    let (client, namespace) = namespace("defaults").await?;
    let jobs = api(&client, &namespace, "GenerationJob");
    jobs.create(&PostParams::default(), &job("cup", valid_job())).await?;
    let read = jobs.get("cup").await?;
    let expected = json!({
        "input": { "image": { "sources": [{ "uri": "gs://bucket/cup.png" }], "multiImageMode": "stochastic" } },
        "quality": "balanced",
        "sampling": { "samples": 1 },
        "output": { "formats": ["glb"], "mesh": { "simplify": 0.95, "fillHoles": true }, "preview": true },
        "priority": 0,
        "backoffLimit": 3,
        "deadlines": { "startSeconds": 300, "runSeconds": 3600 },
        "suspend": false,
        "cancel": false,
    });
    assert_eq!(read.data["spec"], expected);
    // kstatus, and with it Flux and Argo CD, would call an object without a status ready.
    assert_eq!(read.data["status"], json!({ "observedGeneration": -1 }));
    namespace.delete().await
}

#[tokio::test]
async fn a_pool_that_says_only_its_model_and_pods_gets_the_defaults() -> Result<()> {
    let (client, namespace) = namespace("defaults").await?;
    let pools = api(&client, &namespace, "WorkerPool");
    let pool = pools.create(&PostParams::default(), &pool("image", valid_pool())).await?;
    let mut expected = valid_pool();
    expected["inputs"] = json!(["image"]);
    expected["replicas"] = json!({ "min": 0, "max": 1, "surge": 1 });
    expected["idleSeconds"] = json!(300);
    expected["targetWaitSeconds"] = json!(0);
    expected["startSeconds"] = json!(1800);
    expected["maxJobsPerWorker"] = json!(0);
    expected["batchSize"] = json!(1);
    assert_eq!(pool.data["spec"], expected);
    assert_eq!(pools.get("image").await?.data["status"]["observedGeneration"], -1);
    namespace.delete().await
}

#[tokio::test]
async fn what_a_job_is_made_of_cannot_change() -> Result<()> {
    let (client, namespace) = namespace("fixed").await?;
    let jobs = api(&client, &namespace, "GenerationJob");
    let spec = with(valid_job(), "{pool: image, cancel: true}")?;
    jobs.create(&PostParams::default(), &job("cup", spec)).await?;
    let changes = [
        (json!({ "input": { "image": { "sources": [{ "uri": "gs://bucket/mug.png" }] } } }), "spec.input"),
        (json!({ "input": { "image": null, "text": { "prompt": "cup" } } }), "spec.input"),
        (json!({ "model": "other" }), "spec.model"),
        (json!({ "pool": null }), "spec.pool"),
        (json!({ "quality": "high" }), "spec.quality"),
        (json!({ "sampling": { "seed": 1 } }), "spec.sampling"),
        (json!({ "output": { "formats": ["obj"] } }), "spec.output"),
        (json!({ "backoffLimit": 5 }), "spec.backoffLimit"),
        (json!({ "deadlines": { "runSeconds": 60 } }), "spec.deadlines"),
        (json!({ "webhook": { "url": "https://example.com/done" } }), "spec.webhook"),
    ];
    for (change, field) in changes {
        let patch = Patch::Merge(json!({ "spec": change }));
        let result = jobs.patch("cup", &PatchParams::default(), &patch).await;
        expect_refusal(result, field, "cannot change after creation; create another GenerationJob")
            .with_context(|| format!("{change}"))?;
    }
    let undo = Patch::Merge(json!({ "spec": { "cancel": false } }));
    let result = jobs.patch("cup", &PatchParams::default(), &undo).await;
    expect_refusal(result, "spec.cancel", "a cancelled job stays cancelled")?;
    namespace.delete().await
}

#[tokio::test]
async fn a_job_can_be_held_back_moved_ahead_kept_shorter_and_cancelled() -> Result<()> {
    let (client, namespace) = namespace("changes").await?;
    let jobs = api(&client, &namespace, "GenerationJob");
    jobs.create(&PostParams::default(), &job("cup", valid_job())).await?;
    for change in [
        json!({ "suspend": true }),
        json!({ "suspend": false }),
        json!({ "priority": 5 }),
        json!({ "ttlSecondsAfterFinished": 60 }),
        json!({ "ttlSecondsAfterFinished": null }),
        json!({ "ttlSecondsAfterFailed": 3600 }),
        json!({ "cancel": true }),
    ] {
        let patch = Patch::Merge(json!({ "spec": change }));
        jobs.patch("cup", &PatchParams::default(), &patch).await.with_context(|| format!("{change}"))?;
    }
    namespace.delete().await
}

async fn set_status(api: &Api<DynamicObject>, name: &str, status: Value) -> Result<()> {
    let patch = Patch::Merge(json!({ "status": status }));
    api.patch_status(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

fn processing(worker: &str) -> Value {
    let time = "2026-01-01T00:00:00.123456Z";
    json!({
        "phase": "Processing",
        "assignment": { "pool": "image", "worker": worker, "podUid": "1", "attempt": 2, "time": time },
        "progress": { "stage": "sparse structure", "percent": 40, "updatedAt": time },
        "conditions": [{ "type": "Ready", "status": "False", "reason": "Processing", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
    })
}

#[tokio::test]
async fn jobs_are_found_by_phase_and_by_worker() -> Result<()> {
    let (client, namespace) = namespace("select").await?;
    let jobs = api(&client, &namespace, "GenerationJob");
    for name in ["mine", "theirs", "waiting"] {
        jobs.create(&PostParams::default(), &job(name, valid_job())).await?;
    }
    set_status(&jobs, "mine", processing("image-a")).await?;
    set_status(&jobs, "theirs", processing("image-b")).await?;
    for (selector, expected) in [
        ("status.phase=Processing", vec!["mine", "theirs"]),
        ("status.phase!=Processing", vec!["waiting"]),
        ("status.assignment.worker=image-a", vec!["mine"]),
        ("status.assignment.worker=image-a,status.phase=Completed", vec![]),
    ] {
        let found = jobs.list(&ListParams::default().fields(selector)).await?;
        let names: Vec<String> = found.iter().map(|job| job.name_any()).collect();
        assert_eq!(names, expected, "{selector}");
    }
    namespace.delete().await
}

#[tokio::test]
async fn a_status_reads_back_to_the_microsecond() -> Result<()> {
    let (client, namespace) = namespace("status").await?;
    let jobs = api(&client, &namespace, "GenerationJob");
    jobs.create(&PostParams::default(), &job("cup", valid_job())).await?;
    set_status(&jobs, "cup", processing("image-a")).await?;
    let read = jobs.get("cup").await?;
    assert_eq!(read.data["status"]["assignment"]["time"], "2026-01-01T00:00:00.123456Z");
    namespace.delete().await
}

/// The column names and the cells of the first row of what `kubectl get` would print.
async fn table(client: &Client, namespace: &Namespace, plural: &str) -> Result<(Vec<String>, Vec<Value>)> {
    let path = format!("/apis/trellis3d.dev/v1alpha1/namespaces/{}/{plural}", namespace.name());
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let request = http::Request::get(path).header("Accept", accept).body(Vec::new())?;
    let table: Value = client.request(request).await?;
    let columns = table["columnDefinitions"].as_array().context("no columns")?;
    let names = columns.iter().filter_map(|column| column["name"].as_str().map(str::to_owned)).collect();
    let cells = table["rows"][0]["cells"].as_array().context("no row")?.clone();
    Ok((names, cells))
}

#[tokio::test]
async fn kubectl_get_shows_how_far_a_job_is_and_who_has_it() -> Result<()> {
    let (client, namespace) = namespace("columns").await?;
    let jobs = api(&client, &namespace, "GenerationJob");
    let spec = with(valid_job(), "model: trellis-image-large")?;
    jobs.create(&PostParams::default(), &job("cup", spec)).await?;
    set_status(&jobs, "cup", processing("image-a")).await?;
    let (names, cells) = table(&client, &namespace, "generationjobs").await?;
    let expected = ["Name", "Phase", "Progress", "Worker", "Age", "Model", "Quality", "Attempts", "Reason"];
    assert_eq!(names, expected);
    let without_age: Vec<&Value> =
        cells.iter().enumerate().filter(|(i, _)| *i != 4).map(|(_, c)| c).collect();
    let expected =
        json!(["cup", "Processing", 40, "image-a", "trellis-image-large", "balanced", 2, "Processing"]);
    assert_eq!(json!(without_age), expected);
    namespace.delete().await
}

#[tokio::test]
async fn kubectl_scale_sets_the_workers_a_pool_keeps() -> Result<()> {
    let (client, namespace) = namespace("scale").await?;
    let pools = api(&client, &namespace, "WorkerPool");
    let spec = with(valid_pool(), "replicas: {min: 0, max: 4}")?;
    pools.create(&PostParams::default(), &pool("image", spec)).await?;
    set_status(&pools, "image", json!({ "replicas": 1, "selector": "trellis3d.dev/pool=image" })).await?;
    let scale = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    let scale = pools.patch_scale("image", &PatchParams::default(), &scale).await?;
    assert_eq!(scale.status.and_then(|status| status.selector).as_deref(), Some("trellis3d.dev/pool=image"));
    assert_eq!(pools.get("image").await?.data["spec"]["replicas"], json!({ "min": 3, "max": 4, "surge": 1 }));

    let too_many = Patch::Merge(json!({ "spec": { "replicas": 5 } }));
    let result = pools.patch_scale("image", &PatchParams::default(), &too_many).await;
    assert!(format!("{result:?}").contains("min must not be larger than max"), "{result:?}");
    namespace.delete().await
}
