//! What nobody may read in the logs: prompts, keys, tokens, addresses of images and of clients.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::time::Instant;
use trellis_e2e::processes::{Service, ServiceSettings};
use trellis_e2e::{ApiServer, LOG_LEVEL, tells_none};

use crate::fixture::{IMAGE, PHOTO, TEXT};

const LIMIT: Duration = Duration::from_secs(90);
const USER: &str = "user-nobody-may-see";
const PROMPT: &str = "prompt-nobody-may-see";
const SECRET: &str = "secret-nobody-may-see";
/// Where the client is: an address of this machine that nothing else uses.
const CLIENT: [u8; 4] = [127, 77, 66, 55];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jobs_whole_life_leaves_nothing_of_it_in_any_log() -> Result<()> {
    let server = ApiServer::shared().await?;
    let settings = ServiceSettings {
        users: vec![USER.into()],
        log_level: LOG_LEVEL.into(),
        ..ServiceSettings::default()
    };
    let service = Service::start(server, "logs", &settings).await?;
    let visitor = Visitor::of(&service)?;

    let prompt = visitor.post(TEXT, &json!({"prompt": PROMPT})).header("idempotency-key", SECRET);
    let prompt = accepted(prompt.send().await?).await?;
    let photo = visitor.post(IMAGE, &json!({"image_base64": STANDARD.encode(PHOTO)}));
    let photo = accepted(photo.send().await?).await?;
    // Nobody is there: each attempt to tell it fails.
    let webhook =
        json!({"url": format!("https://{SECRET}.invalid/{SECRET}?{SECRET}"), "events": ["completed"]});
    let told = visitor.post(TEXT, &json!({"prompt": PROMPT, "webhook": webhook}));
    let told = accepted(told.send().await?).await?;
    for id in [&prompt, &photo, &told] {
        visitor.completed(id).await?;
        visitor.get(&format!("/api/v1/jobs/{id}")).send().await?.bytes().await?;
        let result = visitor.get(&format!("/api/v1/jobs/{id}/result")).send().await?;
        assert!(result.status().is_success(), "{}", result.status());
        result.bytes().await?;
    }
    visitor.told(&told).await?;
    visitor.post(&format!("/api/v1/jobs/{told}/webhook/redeliver"), &json!({})).send().await?;
    // What goes wrong is logged, too, and must not say more.
    for wrong in [
        visitor.get(&format!("/api/v1/jobs?cursor={SECRET}")),
        visitor.get(&format!("/api/v1/jobs/{SECRET}")),
        visitor.get(&format!("/{SECRET}?key={SECRET}")),
        visitor.request(Method::GET, "/api/v1/jobs").bearer_auth(SECRET),
        visitor.request(Method::GET, "/api/v1/jobs").header("x-api-key", SECRET),
        visitor.request(Method::GET, "/api/v1/jobs").bearer_auth(format!("e30.{SECRET}.{SECRET}")),
        visitor.post(TEXT, &json!({"prompt": PROMPT, SECRET: SECRET})),
        visitor.post(TEXT, &json!({"prompt": PROMPT, "pool": SECRET})),
        visitor.post(IMAGE, &json!({"image_url": format!("https://{SECRET}.invalid/{SECRET}?{SECRET}")})),
        visitor.post(IMAGE, &json!({"image_url": format!("https://127.0.0.1/{SECRET}")})),
        visitor.post(IMAGE, &json!({"image_base64": SECRET})),
        visitor.post(
            TEXT,
            &json!({"prompt": PROMPT, "webhook": {"url": format!("https://127.0.0.1/{SECRET}")}}),
        ),
        visitor.get("/api/v1/webhook-secret"),
        visitor.post(&format!("/api/v1/jobs/{photo}/webhook/redeliver"), &json!({})),
        visitor.request(Method::GET, "/api/v1/jobs").bearer_auth(token()),
        visitor.post(IMAGE, &json!([])).header("cookie", SECRET).header("referer", SECRET),
    ] {
        wrong.send().await?.bytes().await?;
    }
    visitor
        .request(Method::DELETE, &format!("/api/v1/jobs/{prompt}"))
        .bearer_auth(&visitor.key)
        .send()
        .await?;
    // One that comes again finds the record.
    visitor.get(&format!("/api/v1/jobs/{prompt}/status")).send().await?;

    let client = Ipv4Addr::from(CLIENT).to_string();
    for (program, process) in [
        ("the API", &service.rest.process),
        ("the operator", &service.operator.process),
        ("the workers", &service.workers),
    ] {
        let log = process.log()?;
        assert!(log.lines().count() > 3, "{program} logs next to nothing: {log}");
        tells_none(
            program,
            &log,
            [USER, PROMPT, SECRET, &visitor.key, "203.0.113.9", &client, "eyJ", "whsec_"],
        );
    }
    service.namespace.delete().await
}

/// A token of nobody's, whose every part would tell that it was written down.
fn token() -> String {
    format!("{}.{}.{SECRET}", "eyJhbGciOiJFZERTQSJ9", "eyJpc3MiOiJub2JvZHkifQ")
}

/// A user whose address and key are looked for.
struct Visitor {
    client: Client,
    url: String,
    key: String,
}

impl Visitor {
    fn of(service: &Service) -> Result<Self> {
        let client = Client::builder().local_address(IpAddr::from(CLIENT)).timeout(LIMIT).build()?;
        Ok(Self { client, url: service.rest.url(), key: service.rest.key(USER).to_owned() })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let forwarded = "for=203.0.113.9";
        let request =
            self.client.request(method, format!("{}{path}", self.url)).header("forwarded", forwarded);
        request.header("x-forwarded-for", "203.0.113.9").header("user-agent", SECRET)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path).bearer_auth(&self.key)
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path).bearer_auth(&self.key).json(body)
    }

    async fn completed(&self, id: &str) -> Result<()> {
        self.until(&format!("/api/v1/jobs/{id}/status"), |status| status["status"] == "completed").await
    }

    /// Waits until an attempt to tell the job's webhook was written down.
    async fn told(&self, id: &str) -> Result<()> {
        let attempted = |job: &Value| job["webhook"]["deliveries"][0]["attempts"].as_u64() > Some(0);
        self.until(&format!("/api/v1/jobs/{id}"), attempted).await
    }

    async fn until(&self, path: &str, reached: impl Fn(&Value) -> bool) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let now: Value = self.get(path).send().await?.json().await?;
            if reached(&now) {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "it stays {now}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn accepted(answer: Response) -> Result<String> {
    let text = answer.text().await?;
    let job: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    job["id"].as_str().map(str::to_owned).context(text)
}
