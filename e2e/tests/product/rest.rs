//! From an upload to a download.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use trellis_e2e::installation::{Installation, Keys, PortForward, User};
use trellis_e2e::photo::photo_file;
use trellis_e2e::pipe;

use crate::site::{LIMIT, room};
use crate::tool::example_asset;

const GENERATE: &str = "/api/v1/generate/image-to-3d";

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_becomes_the_asset_that_the_command_line_tool_makes() -> Result<()> {
    let _room = room(1).await?;
    let api = Rest::connect().await?;
    let photo = std::fs::read(photo_file())?;
    let form = Form::new()
        .part("image", Part::bytes(photo.clone()).file_name("photo.png"))
        .text("seed", "1")
        .text("quality", "balanced");
    let mut path = String::new();
    let first = api.with_job(api.post().multipart(form), async |job| {
        path = job.to_owned();
        api.gives_the_asset(job).await?;
        // The object goes, and the record stays.
        delete_object(job)?;
        api.is_not_listed(job).await?;
        api.gives_the_asset(job).await
    });
    first.await?;
    // DELETE takes the record as well.
    status_of(api.get(&path).bearer_auth(api.keys.of(User::Demo)), StatusCode::NOT_FOUND).await?;
    let json = json!({"image_base64": STANDARD.encode(photo), "seed": 1, "quality": "balanced"});
    api.with_job(api.post().json(&json), async |job| api.gives_the_asset(job).await).await
}

#[tokio::test]
async fn a_job_is_nobody_elses() -> Result<()> {
    let _room = room(1).await?;
    let api = Rest::connect().await?;
    let json = json!({"image_base64": STANDARD.encode(std::fs::read(photo_file())?)});
    api.with_job(api.post().json(&json), async |job| {
        for path in [job.to_owned(), format!("{job}/status"), format!("{job}/result")] {
            status_of(api.get(&path).bearer_auth("wrong"), StatusCode::UNAUTHORIZED).await?;
            let others = api.get(&path).bearer_auth(api.keys.of(User::Other));
            status_of(others, StatusCode::NOT_FOUND).await?;
        }
        let delete = api.request(Method::DELETE, job).bearer_auth(api.keys.of(User::Other));
        status_of(delete, StatusCode::NOT_FOUND).await?;
        status_of(api.get(job).bearer_auth(api.keys.of(User::Demo)), StatusCode::OK).await.map(drop)
    })
    .await
}

#[tokio::test]
async fn a_corrupt_upload_makes_no_job() -> Result<()> {
    let api = Rest::connect().await?;
    let photo = std::fs::read(photo_file())?;
    let half = photo.get(..photo.len() / 2).unwrap_or_default();
    let refused = api.post().json(&json!({"image_base64": STANDARD.encode(half)}));
    let problem: Value = status_of(refused, StatusCode::UNPROCESSABLE_ENTITY).await?.json().await?;
    ensure!(problem["code"] == "invalid_image", "{problem}");
    Ok(())
}

/// The REST API as users see it.
struct Rest {
    port: PortForward,
    keys: Keys,
    client: reqwest::Client,
}

impl Rest {
    async fn connect() -> Result<Self> {
        let installation = Installation::existing()?;
        let (port, keys) = (installation.api().await?, installation.keys().clone());
        Ok(Self { port, keys, client: reqwest::Client::new() })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.port.url())).timeout(LIMIT)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    fn post(&self) -> RequestBuilder {
        self.request(Method::POST, GENERATE).bearer_auth(self.keys.of(User::Demo))
    }

    /// Sends a request that makes a job, gives its path to `test`, and deletes it whatever came of that.
    async fn with_job(
        &self,
        request: RequestBuilder,
        test: impl AsyncFnOnce(&str) -> Result<()>,
    ) -> Result<()> {
        let job: Value = status_of(request, StatusCode::ACCEPTED).await?.json().await?;
        let path = job["links"]["self"].as_str().with_context(|| format!("no link in {job}"))?;
        let outcome = test(path).await;
        let delete = self.request(Method::DELETE, path).bearer_auth(self.keys.of(User::Demo));
        let deleted = status_of(delete, StatusCode::NO_CONTENT).await;
        outcome?;
        deleted.map(drop)
    }

    /// Waits until a job that was deleted is gone from the lists.
    async fn is_not_listed(&self, job: &str) -> Result<()> {
        let id = job.rsplit('/').next().unwrap_or_default();
        let deadline = Instant::now() + LIMIT;
        loop {
            let listed = self.get("/api/v1/jobs?limit=100").bearer_auth(self.keys.of(User::Demo));
            let listed: Value = status_of(listed, StatusCode::OK).await?.json().await?;
            let jobs = listed["jobs"].as_array().context("no list of jobs")?;
            if jobs.iter().all(|listed| listed["id"] != id) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{id} is listed though it was deleted");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for a job as clients do, and compares what it made with the example's asset.
    async fn gives_the_asset(&self, job: &str) -> Result<()> {
        let authorised = |path: &str| self.get(path).bearer_auth(self.keys.of(User::Demo));
        let deadline = Instant::now() + LIMIT;
        loop {
            let seen = status_of(authorised(&format!("{job}/status")), StatusCode::OK).await?;
            let seen: Value = seen.json().await?;
            match seen["status"].as_str() {
                Some("completed") => break,
                Some("pending" | "processing") if Instant::now() < deadline => {}
                _ => anyhow::bail!("the job did not complete: {seen}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let result = status_of(authorised(&format!("{job}/result")), StatusCode::OK).await?.bytes().await?;
        ensure!(result == example_asset().await?, "the API's GLB is not the tool's");
        Ok(())
    }
}

/// Deletes the object of a job as people at the cluster do, past the API.
fn delete_object(job: &str) -> Result<()> {
    let name = job.rsplit('/').next().unwrap_or_default();
    tokio::task::block_in_place(|| {
        let mut kubectl = Installation::existing()?.kubectl()?;
        pipe(kubectl.args(["--namespace", "default", "delete", "generationjob", name]), "").map(drop)
    })
}

async fn status_of(request: RequestBuilder, expected: StatusCode) -> Result<Response> {
    let response = request.send().await?;
    let (url, status) = (response.url().clone(), response.status());
    if status != expected {
        anyhow::bail!("{url}: {status} instead of {expected}: {}", response.text().await?);
    }
    Ok(response)
}
