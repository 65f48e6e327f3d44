//! The worker as a process, against a real API server, with the small model of the fixtures.

mod support;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use support::{POD, POD_UID, Stage, assignment, fixture, spec, worker};
use trellis_crds::{
    ConfigMapKeyRef, FailureReason, GenerationJob, GenerationJobSpec, Outcome, Phase, Source, conditions,
};
use trellis_storage::Stored;

/// Enough sampling steps to be still running when something happens to the job.
const LONG: i32 = 200;

async fn config_map(stage: &Stage) -> Result<Source> {
    let photo = ByteString(std::fs::read(fixture("input.png"))?);
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some("photo".into()), ..Default::default() },
        binary_data: Some([("photo.png".to_owned(), photo)].into()),
        ..Default::default()
    };
    let maps: Api<ConfigMap> = stage.namespace.api();
    maps.create(&PostParams::default(), &map).await?;
    let key = ConfigMapKeyRef { name: "photo".into(), key: "photo.png".into() };
    Ok(Source { uri: None, config_map_key_ref: Some(key) })
}

#[tokio::test]
async fn an_assigned_job_completes_with_its_files() -> Result<()> {
    let stage = Stage::set("completes").await?;
    let job = stage.assign("cup", config_map(&stage).await?, 2, POD_UID).await?;
    let done = stage.ended(&job).await?;
    let status = done.status.as_ref().context("no status")?;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:?}");
    assert_eq!(status.attempts[0].outcome, Outcome::Succeeded);
    assert_eq!((status.seed, status.attempts[0].worker.as_str()), (Some(42), POD));
    assert!(conditions::is_true(&status.conditions, conditions::READY));
    assert!(status.timings.iter().any(|timing| timing.stage == "upload"), "{status:?}");

    let folder =
        stage.folder.path().join(stage.namespace.name()).join(job.uid().context("no uid")?).join("1");
    let formats: Vec<_> = status.outputs.iter().map(|output| output.format.as_str()).collect();
    assert_eq!(formats, ["glb", "png", "json"]);
    for (output, name) in status.outputs.iter().zip(["model.glb", "preview.png", "manifest.json"]) {
        let path = folder.join(name);
        assert_eq!(output.uri, format!("file://{}", path.display()));
        let stored = Stored::of(&std::fs::read(path)?);
        assert_eq!((&output.sha256, output.bytes), (&stored.sha256, stored.bytes as i64));
    }
    let manifest: GenerationJob = serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?;
    assert_eq!(manifest.phase(), Phase::Completed);
    assert_eq!(manifest.status.context("no status")?.outputs, status.outputs[..2]);
    Ok(())
}

#[tokio::test]
async fn a_corrupt_image_is_the_jobs_fault_and_the_decision_the_operators() -> Result<()> {
    let stage = Stage::set("corrupt").await?;
    let job = stage.assign("cup", stage.file("photo.png", b"\x89PNG\r\n\x1a\nno image")?, 2, POD_UID).await?;
    let failed = stage.ended(&job).await?;
    let attempt = failed.current_attempt_ended().context("no attempt")?;
    assert_eq!((attempt.outcome, attempt.reason), (Outcome::Failed, Some(FailureReason::InvalidInput)));
    assert_eq!(failed.phase(), Phase::Processing);
    assert_eq!(failed.assignment(), job.assignment());
    Ok(())
}

fn with_seed(source: Source, seed: i64) -> GenerationJobSpec {
    let mut spec = spec(source, 2);
    spec.sampling.seed = Some(seed);
    spec
}

/// The sha256 of the files that a job's asset is, without the record that names the job.
fn asset(job: &GenerationJob) -> Vec<&str> {
    let outputs = job.status.iter().flat_map(|status| &status.outputs);
    outputs.filter(|output| output.format != "json").map(|output| &output.sha256[..]).collect()
}

#[tokio::test]
async fn a_batch_makes_the_files_that_each_job_makes_alone_and_a_bad_image_fails_alone() -> Result<()> {
    let stage = Stage::set("batch").await?;
    let (photo, corrupt) = (stage.photo()?, stage.file("corrupt.png", b"\x89PNG\r\n\x1a\nno image")?);
    let (cup, bowl) = (with_seed(photo.clone(), 1), with_seed(photo.clone(), 2));
    let mut alone = Vec::new();
    for (name, spec) in [("cup-alone", &cup), ("bowl-alone", &bowl)] {
        let job = stage.assign_as(name, spec.clone(), assignment()).await?;
        alone.push(stage.ended(&job).await?);
    }
    // While it runs the others gather, so that none of them can come too late for their batch.
    let before = stage.assign("before", photo, LONG, POD_UID).await?;
    let jobs = [("cup", cup), ("corrupt", with_seed(corrupt, 1)), ("bowl", bowl)];
    let batch = stage.assign_together(jobs).await?;
    stage.jobs().delete(&before.name_any(), &DeleteParams::default()).await?;

    let mut ended = Vec::new();
    for job in &batch {
        ended.push(stage.ended(job).await?);
    }
    let [cup, corrupt, bowl] = &ended[..] else { unreachable!() };
    assert_eq!((asset(cup), asset(bowl)), (asset(&alone[0]), asset(&alone[1])));
    assert_ne!(asset(cup), asset(bowl));
    assert_eq!(asset(cup).len(), 2, "{:?}", cup.status);
    let attempts: Option<Vec<_>> = ended.iter().map(GenerationJob::current_attempt_ended).collect();
    let attempts = attempts.context("no attempt")?;
    assert_eq!(attempts[1].reason, Some(FailureReason::InvalidInput), "{:?}", corrupt.status);
    assert!(attempts.iter().all(|attempt| attempt.start == attempts[0].start), "not one batch: {attempts:?}");
    Ok(())
}

#[tokio::test]
async fn an_assignment_to_an_earlier_pod_of_the_same_name_is_ignored() -> Result<()> {
    let stage = Stage::set("earlier").await?;
    let other = "22222222-2222-2222-2222-222222222222";
    let foreign = stage.assign("foreign", stage.photo()?, 2, other).await?;
    let missing = Source { uri: Some("gs://bucket/../x".into()), config_map_key_ref: None };
    let own = stage.assign("own", missing, 2, POD_UID).await?;
    // Jobs come in the order of their assignment: the worker has seen both.
    stage.ended(&own).await?;
    assert_eq!(stage.jobs().get_status(&foreign.name_any()).await?.status, foreign.status);
    Ok(())
}

#[tokio::test]
async fn a_deleted_job_frees_its_worker() -> Result<()> {
    let mut stage = Stage::set("deleted").await?;
    let job = stage.assign("cup", stage.photo()?, LONG, POD_UID).await?;
    stage.wait_for("/metrics", "trellis_worker_busy 1").await?;
    stage.jobs().delete(&job.name_any(), &DeleteParams::default()).await?;
    stage.wait_for("/metrics", r#"trellis_worker_attempts_total{outcome="LetGo"} 1"#).await?;
    let next = stage.assign("next", stage.file("none", b"no image")?, 2, POD_UID).await?;
    stage.ended(&next).await?;
    Ok(())
}

#[tokio::test]
async fn a_worker_that_is_told_to_end_hands_its_job_back() -> Result<()> {
    let mut stage = Stage::set("terminated").await?;
    let job = stage.assign("cup", stage.photo()?, LONG, POD_UID).await?;
    stage.wait_for("/metrics", "trellis_worker_busy 1").await?;
    assert!(stage.terminate().await?.success());
    let attempt_ended = stage.jobs().get_status(&job.name_any()).await?;
    let attempt = attempt_ended.current_attempt_ended().context("no attempt")?;
    assert_eq!((attempt.outcome, attempt.reason), (Outcome::HandedBack, None));
    assert_eq!(attempt_ended.assignment(), job.assignment());
    Ok(())
}

#[test]
fn a_worker_without_a_model_says_so_before_it_takes_jobs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let told = folder.path().join("termination-log");
    std::fs::write(&told, "")?;
    let missing = format!("file://{}/none", folder.path().display());
    // Nothing is asked of the API server before the model is there.
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, NOWHERE)?;
    let status = worker(&kubeconfig, folder.path())
        .env("TRELLIS_MODEL_URI", &missing)
        .env("TRELLIS_TERMINATION_LOG", &told)
        .env("LISTEN", "127.0.0.1:0")
        .status()?;
    assert_eq!(status.code(), Some(trellis_crds::EXIT_NO_MODEL));
    let message = std::fs::read_to_string(told)?;
    assert!(message.starts_with(&format!("the model {missing} cannot be loaded: ")), "{message}");
    Ok(())
}

const NOWHERE: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "it",
    "clusters": [{"name": "it", "cluster": {"server": "http://127.0.0.1:9"}}], "users": [{"name": "it", "user": {}}],
    "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}]}"#;
