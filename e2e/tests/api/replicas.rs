//! Replicas of the program beside one another, and one that is started anew: none keeps a state of its own.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::future::join_all;
use kube::Api;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use trellis_crds::{GenerationJob, InputKind};
use trellis_e2e::{ApiServer, Namespace, install_crds, paths};

use crate::service::{body, create_pool, id, photo, write_keys};

const DEADLINE: Duration = Duration::from_secs(60);

/// A running `trellis-api`, killed when dropped.
struct Replica {
    program: Child,
    url: String,
}

impl Replica {
    async fn start(server: &ApiServer, namespace: &Namespace, folder: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = folder.join(format!("{}.log", free.port()));
        let stored = |name: &str| format!("file://{}", folder.join(name).display());
        let program = Command::new(paths::target().join("release/trellis-api"))
            .arg("serve")
            .env("KUBECONFIG", server.kubeconfig())
            .env("LISTEN", free.to_string())
            .env("METRICS_LISTEN", "127.0.0.1:0")
            // Other tests' jobs are on the same API server, and this program would answer for their webhooks.
            .env("JOB_NAMESPACES", namespace.name())
            .env("API_KEYS_FILE", folder.join("keys.yaml"))
            .env("INPUT_URI", stored("inputs"))
            .env("OUTPUT_URI", stored("outputs"))
            .env("POOL_NAMESPACE", namespace.name())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .expect("trellis-api is not built");
        let replica = Self { program, url: format!("http://{free}") };
        let (ready, deadline) = (format!("{}/readyz", replica.url), Instant::now() + DEADLINE);
        while !reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == StatusCode::OK) {
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < deadline, "the replica does not get ready:\n{}", said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        replica
    }

    async fn submit(&self, key: &str, body: &Value) -> reqwest::Response {
        reqwest::Client::new()
            .post(format!("{}/api/v1/generate/image-to-3d", self.url))
            .bearer_auth(key)
            .header("Idempotency-Key", "order-7")
            .json(body)
            .send()
            .await
            .unwrap()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[tokio::test]
async fn one_idempotency_key_makes_one_job_at_two_replicas_at_once_and_after_a_restart() {
    let server = ApiServer::shared().await.unwrap();
    let client = server.client().await.unwrap();
    install_crds(&client).await.unwrap();
    let namespace = Namespace::create(&client, "replicas").await.unwrap();
    create_pool(&namespace, &[InputKind::Image]).await;
    let folder = TempDir::new().unwrap();
    let [alice, bob] = write_keys(&folder.path().join("keys.yaml"), namespace.name());
    let start = || Replica::start(server, &namespace, folder.path());
    let (one, two) = tokio::join!(start(), start());

    let photo = photo();
    let answers = join_all((0..8).map(|n| if n % 2 == 0 { &one } else { &two }.submit(&alice, &photo))).await;
    let mut ids = Vec::new();
    for answer in answers {
        ids.push(id(&body(answer, StatusCode::ACCEPTED).await));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");

    // With another body, at the replica that may have heard of the job only by its watch.
    let mut other = photo.clone();
    other["when_failing"] = json!("queue");
    for replica in [&one, &two] {
        let refused = body(replica.submit(&alice, &other).await, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert_eq!(refused["code"], "idempotency_key_reused");
    }
    // Of another user: another job.
    let of_bob = id(&body(two.submit(&bob, &photo).await, StatusCode::ACCEPTED).await);
    assert_ne!(of_bob, ids[0]);

    drop((one, two));
    let again = start().await;
    assert_eq!(id(&body(again.submit(&alice, &photo).await, StatusCode::ACCEPTED).await), ids[0]);
    let refused = body(again.submit(&alice, &other).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(refused["code"], "idempotency_key_reused");

    let jobs: Api<GenerationJob> = namespace.api();
    assert_eq!(jobs.list(&Default::default()).await.unwrap().items.len(), 2);
    namespace.delete().await.unwrap();
}
