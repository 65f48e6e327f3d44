//! The chart `trellis` as a real API server takes it, and what it lets a worker do.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace as NamespaceObject, Pod, ServiceAccount};
use kube::api::{ApiResource, ListParams, Patch, PatchParams, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::core::DynamicObject;
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;
use trellis_e2e::chart::{apply, render};
use trellis_e2e::{ApiServer, Namespace, install_crds, paths};

#[tokio::test]
async fn every_object_of_the_chart_is_accepted() -> Result<()> {
    let server = ApiServer::shared().await?;
    let client = server.client().await?;
    install_crds(&client).await?;
    let namespace = Namespace::create(&client, "chart").await?;
    for name in ["shop", "studio"] {
        // The namespaces that ci/all-values.yaml names; another test binary has a server of its own.
        let mut object = NamespaceObject::default();
        object.metadata.name = Some(name.to_owned());
        Api::all(client.clone()).create(&PostParams::default(), &object).await?;
    }
    let everything = paths::source().join("charts/trellis/ci/all-values.yaml");
    let everything = everything.to_str().context("the path is no text")?;
    // This server does not know the Prometheus operator's kinds.
    let known = "monitoring.scrape.enabled=false,monitoring.rules.enabled=false";
    let cases: [&[&str]; 3] =
        [&[], &["--set", "pools.image.accelerator=null"], &["--values", everything, "--set", known]];
    for more in cases {
        apply(&server.kubeconfig(), &render(namespace.name(), more)?, &["--dry-run=server"])
            .with_context(|| format!("{more:?}"))?;
    }
    namespace.delete().await
}

#[tokio::test]
async fn every_example_is_accepted() -> Result<()> {
    let server = ApiServer::shared().await?;
    let client = server.client().await?;
    install_crds(&client).await?;
    let namespace = Namespace::create(&client, "examples").await?;
    let folder = paths::source().join("examples");
    for folder in [folder.join("photo"), folder] {
        for file in std::fs::read_dir(folder)? {
            let path = file?.path();
            let yaml = path.extension().is_some_and(|extension| extension == "yaml");
            if yaml && !path.ends_with("kustomization.yaml") {
                let manifest = std::fs::read_to_string(&path)?;
                apply(
                    &server.kubeconfig(),
                    &manifest,
                    &["--dry-run=server", "--namespace", namespace.name()],
                )
                .with_context(|| path.display().to_string())?;
            }
        }
    }
    namespace.delete().await
}

#[test]
fn the_api_reads_results_where_workers_write_files() -> Result<()> {
    let files =
        ["--set", "storage.outputUri=file:///assets/out", "--set", "api.volumeMounts[0].mountPath=/assets"];
    let chart = render("files", &files)?;
    let api = chart.split("---").find(|object| object.contains("name: API_KEYS_FILE")).context("no API")?;
    assert!(api.contains("name: OUTPUT_URI\n              value: \"file:///assets/out\""), "{api}");
    assert!(api.contains("mountPath: /assets\n"), "{api}");
    Ok(())
}

#[test]
fn storage_is_cleaned_only_where_that_is_asked_for() -> Result<()> {
    assert!(!render("clean", &[])?.contains("clean-storage"));
    let chart = render("clean", &["--set", "cleanup.enabled=true,cleanup.keepResultsDays=30"])?;
    let job = chart.split("---").find(|object| object.contains("kind: CronJob")).context("no CronJob")?;
    assert!(
        job.contains("- clean-storage\n                - --keep-results-days=30\n              env:"),
        "{job}"
    );
    assert!(chart.contains("  name: clean-cleanup\n  namespace: clean\n"), "{chart}");
    let dry = render("clean", &["--set", "cleanup.enabled=true,cleanup.dryRun=true"])?;
    assert!(dry.contains("- clean-storage\n                - --dry-run\n"), "{dry}");
    assert!(render("clean", &["--set", "cleanup.keepResultsDays=1"]).is_err());
    Ok(())
}

/// It would not start with such a key, or would keep the keys it had.
#[test]
fn a_key_that_the_api_does_not_take_is_refused_at_once() -> Result<()> {
    let key = |user: &str| {
        let sha256 = "0".repeat(64);
        format!(r#"api.keys=[{{"id":"a","user":"{user}","namespace":"team","sha256":"{sha256}"}}]"#)
    };
    render("keys", &["--set-json", &key("alice")])?;
    assert!(render("keys", &["--set-json", &key("alice smith")]).is_err());
    Ok(())
}

/// A namespace with the chart in it; the release has the namespace's name, so that no other test's objects are in the way.
struct Installation {
    server: &'static ApiServer,
    client: Client,
    namespace: Namespace,
}

impl Installation {
    async fn create() -> Result<Self> {
        let server = ApiServer::shared().await?;
        let client = server.client().await?;
        install_crds(&client).await?;
        let namespace = Namespace::create(&client, "worker").await?;
        apply(&server.kubeconfig(), &render(namespace.name(), &[])?, &[])?;
        Ok(Self { server, client, namespace })
    }

    fn service_account(&self, part: &str) -> String {
        format!("{}-{part}", self.namespace.name())
    }

    /// Creates a worker's pod; nothing runs it.
    async fn pod(&self, name: &str) -> Result<Pod> {
        let pod = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "serviceAccountName": self.service_account("worker"), "containers": [{ "name": "worker", "image": "worker" }] },
        }))?;
        Ok(self.namespace.api().create(&PostParams::default(), &pod).await?)
    }

    /// A client with a token of the workers' service account, bound to `pod` where one is given.
    async fn worker(&self, pod: Option<&Pod>) -> Result<Client> {
        self.client_of("worker", pod).await
    }

    async fn client_of(&self, part: &str, pod: Option<&Pod>) -> Result<Client> {
        let bound_object_ref = pod.map(|pod| BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        });
        let request = TokenRequest {
            spec: TokenRequestSpec { bound_object_ref, ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = self.namespace.api();
        let issued = accounts
            .create_token_request(&self.service_account(part), &PostParams::default(), &request)
            .await?;
        let token = issued.status.context("no token was issued")?.token;

        let kubeconfig = Kubeconfig::read_from(self.server.kubeconfig())?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.auth_info = serde_json::from_value::<AuthInfo>(json!({ "token": token }))?;
        Ok(Client::try_from(config)?)
    }

    fn jobs(&self, client: &Client) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), self.namespace.name(), &job_resource())
    }

    /// Creates a job that the operator has assigned to a worker.
    async fn assigned_job(&self, name: &str, worker: &str, pod_uid: &str) -> Result<()> {
        self.assigned_job_with(name, worker, pod_uid, json!({})).await
    }

    async fn assigned_job_with(&self, name: &str, worker: &str, pod_uid: &str, output: Value) -> Result<()> {
        let input = json!({ "image": { "sources": [{ "uri": "gs://bucket/cup.png" }] } });
        let spec = json!({ "input": input, "output": output });
        let job = DynamicObject::new(name, &job_resource()).data(json!({ "spec": spec }));
        let jobs = self.jobs(&self.client);
        jobs.create(&PostParams::default(), &job).await?;
        let assignment =
            json!({ "pool": "image", "worker": worker, "podUid": pod_uid, "attempt": 1, "time": TIME });
        write(&jobs, name, json!({ "phase": "Processing", "assignment": assignment })).await?;
        Ok(())
    }
}

const TIME: &str = "2026-01-01T00:00:00.000000Z";

fn job_resource() -> ApiResource {
    ApiResource {
        group: "trellis3d.dev".into(),
        version: "v1alpha1".into(),
        api_version: "trellis3d.dev/v1alpha1".into(),
        kind: "GenerationJob".into(),
        plural: "generationjobs".into(),
    }
}

/// Writes the fields of `status` into that of the job, by a PUT: a worker may not PATCH.
async fn write(jobs: &Api<DynamicObject>, name: &str, status: Value) -> kube::Result<DynamicObject> {
    let mut job = jobs.get(name).await?;
    json_patch::merge(&mut job.data["status"], &status);
    jobs.replace_status(name, &PostParams::default(), &job).await
}

fn progress(percent: i32) -> Value {
    json!({ "progress": { "stage": "decode", "percent": percent, "updatedAt": TIME } })
}

fn with_outcome(number: i32, worker: &str, outcome: &str) -> Value {
    json!({ "number": number, "worker": worker, "start": TIME, "end": TIME, "outcome": outcome })
}

fn ended(number: i32, worker: &str) -> Value {
    with_outcome(number, worker, "HandedBack")
}

fn succeeded(number: i32, worker: &str) -> Value {
    with_outcome(number, worker, "Succeeded")
}

fn condition(kind: &str, status: &str) -> Value {
    let time = "2026-01-01T00:00:00Z";
    json!({ "type": kind, "status": status, "reason": "Test", "message": "", "lastTransitionTime": time })
}

/// What the worker of attempt 1 writes when its file is at `uri`; conditions are left as they are.
fn completed(uri: &str, worker: &str) -> Value {
    json!({
        "phase": "Completed",
        "progress": null,
        "attempts": [succeeded(1, worker)],
        "outputs": [{ "format": "glb", "uri": uri, "bytes": 1, "sha256": "0".repeat(64) }],
        "timings": [{ "stage": "decode", "milliseconds": 5 }],
        "seed": 7,
        "startTime": TIME,
        "completionTime": TIME,
    })
}

fn expect_refusal(result: kube::Result<DynamicObject>, message: &str) -> Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.message.contains(message) => Ok(()),
        other => bail!("should be refused with {message:?}: {other:?}"),
    }
}

/// Roles and policies take effect a moment after they are stored. `other` is a job that the policy keeps from the worker.
async fn wait_until_enforced(jobs: &Api<DynamicObject>, other: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match write(jobs, other, progress(1)).await {
            Err(kube::Error::Api(status)) if status.message.contains("ValidatingAdmissionPolicy") => {
                return Ok(());
            }
            other if Instant::now() > deadline => bail!("the policy was not enforced within 30 s: {other:?}"),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

#[tokio::test]
async fn a_worker_reports_on_its_own_job_and_on_no_other() -> Result<()> {
    let installation = Installation::create().await?;
    let pod = installation.pod("image-a").await?;
    let uid = pod.uid().context("the pod has no uid")?;
    installation.assigned_job("mine", "image-a", &uid).await?;
    installation.assigned_job("theirs", "image-b", "another").await?;
    // The pod of that name before this one.
    installation.assigned_job("predecessors", "image-a", "another").await?;

    let worker = installation.worker(Some(&pod)).await?;
    let jobs = installation.jobs(&worker);
    wait_until_enforced(&jobs, "theirs").await?;
    for name in ["theirs", "predecessors"] {
        expect_refusal(write(&jobs, name, progress(10)).await, "this job is not assigned to this worker")?;
    }
    write(&jobs, "mine", progress(10)).await.context("the worker's own job")?;

    // What only the operator does.
    let reassigned = json!({ "assignment": { "attempt": 2 } });
    expect_refusal(write(&jobs, "mine", reassigned).await, "only the operator changes status.assignment")?;
    let released = json!({ "assignment": null });
    expect_refusal(write(&jobs, "mine", released).await, "only the operator changes status.assignment")?;
    let failed = json!({ "phase": "Failed" });
    expect_refusal(write(&jobs, "mine", failed).await, "may set the phase Completed, no other")?;
    let told = json!({ "webhook": told() });
    expect_refusal(write(&jobs, "mine", told).await, "only the API says what webhooks were told")?;
    let counted = json!({ "failures": 1 });
    expect_refusal(write(&jobs, "mine", counted).await, "only the operator counts status.failures")?;
    let no_other = "adds the entry of its own attempt to status.attempts, and no other";
    let attempts = |entries: &[Value]| json!({ "attempts": entries });
    for forged in [ended(2, "image-a"), ended(1, "image-b"), with_outcome(1, "image-a", "Lost")] {
        expect_refusal(write(&jobs, "mine", attempts(&[forged])).await, no_other)?;
    }
    let own = ended(1, "image-a");
    write(&jobs, "mine", attempts(std::slice::from_ref(&own))).await.context("the end of its attempt")?;
    expect_refusal(
        write(&jobs, "mine", attempts(&[])).await,
        "keeps the earlier entries of status.attempts",
    )?;
    expect_refusal(write(&jobs, "mine", attempts(&[own.clone(), ended(2, "image-a")])).await, no_other)?;
    expect_refusal(write(&jobs, "mine", attempts(&[own.clone(), own])).await, "keeps the earlier entries")?;
    expect_refusal(write(&jobs, "mine", attempts(&[succeeded(1, "image-a")])).await, no_other)?;
    installation.namespace.delete().await
}

/// What the API writes down of a webhook.
fn told() -> Value {
    json!({ "deliveries": [{ "event": "completed", "id": "1", "time": TIME, "state": "Delivered", "attempts": 1 }] })
}

#[tokio::test]
async fn the_api_writes_down_what_webhooks_were_told_and_nothing_else_of_a_status() -> Result<()> {
    let installation = Installation::create().await?;
    installation.assigned_job("cup", "image-a", "1").await?;
    let jobs = installation.jobs(&installation.client_of("api", None).await?);
    let patch = async |status: Value| {
        let patch = Patch::Merge(json!({ "status": status }));
        jobs.patch_status("cup", &PatchParams::default(), &patch).await
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    // Each time another one: what changes nothing is let through.
    for percent in (0..100).cycle() {
        match patch(progress(percent)).await {
            Err(kube::Error::Api(status)) if status.message.contains("ValidatingAdmissionPolicy") => break,
            other if Instant::now() > deadline => bail!("the policy was not enforced within 30 s: {other:?}"),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    patch(json!({ "webhook": told() })).await.context("what webhooks were told")?;
    for forged in [
        json!({ "phase": "Completed" }),
        json!({ "assignment": null }),
        json!({ "failures": 1 }),
        json!({ "outputs": [{ "format": "glb", "uri": "gs://b/x", "bytes": 1, "sha256": "" }] }),
        json!({ "webhook": null, "seed": 7 }),
    ] {
        expect_refusal(patch(forged).await, "the API writes status.webhook, and nothing else")?;
    }
    installation.namespace.delete().await
}

/// A field that the policy leaves out could be forged.
#[test]
fn the_apis_policy_names_every_field_of_a_status() -> Result<()> {
    let chart = render("policy", &[])?;
    let policy = chart
        .split("---")
        .find(|object| {
            object.contains("kind: ValidatingAdmissionPolicy\n") && object.contains("name: policy-api\n")
        })
        .context("no policy")?;
    let [jobs, _] = trellis_crds::definitions();
    let fields = &serde_json::to_value(jobs)?["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        ["status"]["properties"];
    for field in fields.as_object().context("the status has no fields")?.keys() {
        let same = format!("object.?status.?{field} == oldObject.?status.?{field}");
        assert_eq!(policy.contains(&same), field != "webhook", "{field}");
    }
    Ok(())
}

/// What a worker that an input took over could try with a job that it has.
#[tokio::test]
async fn a_worker_completes_its_job_with_what_its_attempt_made_and_nothing_else() -> Result<()> {
    let installation = Installation::create().await?;
    let pod = installation.pod("image-a").await?;
    let uid = pod.uid().context("the pod has no uid")?;
    installation.assigned_job("mine", "image-a", &uid).await?;
    let output = json!({ "destination": "gs://other/x//" });
    installation.assigned_job_with("elsewhere", "image-a", &uid, output).await?;
    installation.assigned_job("theirs", "image-b", "another").await?;
    let all = installation.jobs(&installation.client);
    let seen = json!({ "observedGeneration": 1, "conditions": [condition("Accepted", "True"), condition("Ready", "False")] });
    write(&all, "mine", seen).await?;
    let jobs = installation.jobs(&installation.worker(Some(&pod)).await?);
    wait_until_enforced(&jobs, "theirs").await?;

    let folder = |destination: &str, job: &DynamicObject, attempt: i32| {
        let uid = job.uid().unwrap_or_default();
        format!("{destination}/{}/{uid}/{attempt}", installation.namespace.name())
    };
    let mine = folder("gs://b/o", &jobs.get("mine").await?, 1);
    let theirs = folder("gs://b/o", &jobs.get("theirs").await?, 1);
    let earlier = folder("gs://b/o", &jobs.get("mine").await?, 2);
    for uri in [
        format!("{theirs}/model.glb"),
        format!("{earlier}/model.glb"),
        format!("{mine}/../1/model.glb"),
        format!("{mine}/%2e%2e/model.glb"),
        format!("{mine}/.."),
        format!("{mine}/"),
        format!("{mine}-2/model.glb"),
        "gs://other/model.glb".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let refused = write(&jobs, "mine", completed(&uri, "image-a")).await;
        expect_refusal(refused, "only files in the folder of the worker's own attempt").context(uri)?;
    }
    let own = completed(&format!("{mine}/model.glb"), "image-a");
    let with = |field: &str, value: Value| {
        let mut status = own.clone();
        status[field] = value;
        status
    };
    for (status, message) in [
        (with("attempts", json!([ended(1, "image-a")])), "with the entry of an attempt that succeeded"),
        (with("attempts", json!([])), "with the entry of an attempt that succeeded"),
        (with("phase", json!("Processing")), "when it completes its job, not before"),
        (with("error", json!({ "code": "x", "message": "x", "retryable": true })), "only the operator sets"),
        (with("observedGeneration", json!(7)), "only the operator sets"),
        (with("estimatedCompletionTime", json!(TIME)), "only the operator sets"),
        (
            with("conditions", json!([condition("Ready", "True")])),
            "the conditions Ready and Reconciling, and no other",
        ),
        (
            with("conditions", json!([condition("Accepted", "False"), condition("Ready", "True")])),
            "the conditions Ready and Reconciling, and no other",
        ),
        (
            with(
                "conditions",
                json!([condition("Accepted", "True"), condition("Ready", "True"), condition("Mine", "True")]),
            ),
            "the conditions Ready and Reconciling, and no other",
        ),
    ] {
        expect_refusal(write(&jobs, "mine", status.clone()).await, message).context(status)?;
    }
    let early = json!({ "conditions": [condition("Accepted", "True"), condition("Ready", "True")] });
    expect_refusal(write(&jobs, "mine", early).await, "the conditions Ready and Reconciling, and no other")?;

    let conditions =
        json!([condition("Accepted", "True"), condition("Ready", "True"), condition("Reconciling", "False")]);
    write(&jobs, "mine", with("conditions", conditions)).await.context("the result")?;
    let changed_later = json!({ "outputs": [], "seed": 5 });
    expect_refusal(write(&jobs, "mine", changed_later).await, "may report on a job in the phase Processing")?;

    let there = folder("gs://other/x", &jobs.get("elsewhere").await?, 1);
    let elsewhere = folder("gs://b/o", &jobs.get("elsewhere").await?, 1);
    let misplaced = write(&jobs, "elsewhere", completed(&format!("{elsewhere}/model.glb"), "image-a")).await;
    expect_refusal(misplaced, "only files in the folder of the worker's own attempt")?;
    let status = completed(&format!("{there}/model.glb"), "image-a");
    write(&jobs, "elsewhere", status).await.context("the job names the destination")?;
    installation.namespace.delete().await
}

#[tokio::test]
async fn a_worker_drops_the_oldest_of_ten_attempts_and_no_other() -> Result<()> {
    let installation = Installation::create().await?;
    let pod = installation.pod("image-a").await?;
    installation.assigned_job("mine", "image-a", &pod.uid().context("the pod has no uid")?).await?;
    installation.assigned_job("theirs", "image-b", "another").await?;
    let earlier: Vec<Value> = (1..=10).map(|number| ended(number, "image-b")).collect();
    let status = json!({ "assignment": { "attempt": 11 }, "attempts": earlier });
    write(&installation.jobs(&installation.client), "mine", status).await?;
    let jobs = installation.jobs(&installation.worker(Some(&pod)).await?);
    wait_until_enforced(&jobs, "theirs").await?;

    let attempts = |kept: &[Value]| {
        let all = [kept, &[ended(11, "image-a")]].concat();
        json!({ "attempts": all })
    };
    let message = "keeps the earlier entries of status.attempts";
    expect_refusal(write(&jobs, "mine", json!({ "attempts": earlier[1..] })).await, message)?;
    expect_refusal(write(&jobs, "mine", attempts(&earlier[..9])).await, message)?;
    expect_refusal(write(&jobs, "mine", attempts(&earlier[5..])).await, message)?;
    write(&jobs, "mine", attempts(&earlier[1..])).await.context("the end of its attempt")?;
    installation.namespace.delete().await
}

#[tokio::test]
async fn a_token_without_a_pod_reports_on_nothing() -> Result<()> {
    let installation = Installation::create().await?;
    installation.assigned_job("cup", "image-a", "1").await?;
    let jobs = installation.jobs(&installation.worker(None).await?);
    wait_until_enforced(&jobs, "cup").await?;
    expect_refusal(write(&jobs, "cup", progress(10)).await, "workers must use the token of their pod")?;
    installation.namespace.delete().await
}

#[tokio::test]
async fn a_worker_reads_jobs_and_named_config_maps_and_nothing_else() -> Result<()> {
    let installation = Installation::create().await?;
    let pod = installation.pod("image-a").await?;
    installation.assigned_job("cup", "image-a", &pod.uid().context("the pod has no uid")?).await?;
    installation.assigned_job("theirs", "image-b", "another").await?;
    let worker = installation.worker(Some(&pod)).await?;
    wait_until_enforced(&installation.jobs(&worker), "theirs").await?;
    let everywhere: Api<DynamicObject> = Api::all_with(worker.clone(), &job_resource());
    everywhere.list(&ListParams::default().fields("status.assignment.worker=image-a")).await?;

    let config_maps: Api<ConfigMap> = Api::namespaced(worker.clone(), installation.namespace.name());
    assert!(config_maps.get_opt("absent").await?.is_none());
    let forbidden = "is forbidden";
    let listed =
        config_maps.list(&ListParams::default()).await.map(|_| DynamicObject::new("x", &job_resource()));
    expect_refusal(listed, forbidden)?;
    let cancel = Patch::Merge(json!({ "spec": { "cancel": true } }));
    let jobs = installation.jobs(&worker);
    expect_refusal(jobs.patch("cup", &PatchParams::default(), &cancel).await, forbidden)?;
    let pods: Api<Pod> = Api::namespaced(worker, installation.namespace.name());
    let read = pods.get("image-a").await.map(|_| DynamicObject::new("x", &job_resource()));
    expect_refusal(read, forbidden)?;
    installation.namespace.delete().await
}
