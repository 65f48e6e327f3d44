//! The service that load is played on, wherever it is.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{Client, Kind, Stage, Tally, paced, schedule};

const TEXT: &str = "/api/v1/generate/text-to-3d";
/// How many jobs are asked for.
const JOBS: usize = 20;

/// A service, and some jobs there.
#[derive(Debug, Clone)]
pub struct Target {
    url: String,
    key: String,
    jobs: Arc<[String]>,
    client: reqwest::Client,
}

impl Target {
    /// Submits the jobs that are then asked for.
    ///
    /// # Errors
    /// When the service does not take them.
    pub async fn prepare(url: &str, key: &str) -> Result<Self> {
        let client = reqwest::Client::new();
        let mut target =
            Self { url: url.trim_end_matches('/').into(), key: key.into(), jobs: [].into(), client };
        let mut jobs = Vec::new();
        for number in 0..JOBS {
            let answer = target.request(Method::POST, TEXT).json(&prompt(number as u64)).send().await?;
            let text = answer.text().await?;
            let job: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
            jobs.push(job["id"].as_str().context(text)?.to_owned());
        }
        target.jobs = jobs.into();
        Ok(target)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    /// Mostly statuses, now and then a job or a list.
    fn read(&self, number: u64) -> RequestBuilder {
        let job = self.jobs.get(number as usize % self.jobs.len()).map_or("", String::as_str);
        let path = match number % 10 {
            1 => "/api/v1/jobs".to_owned(),
            2 => format!("/api/v1/jobs/{job}"),
            _ => format!("/api/v1/jobs/{job}/status"),
        };
        self.request(Method::GET, &path)
    }
}

fn prompt(number: u64) -> Value {
    json!({"prompt": format!("a small wooden chest, number {number}"), "seed": number % 1000})
}

/// Plays stages with so many clients. Every so many requests one submits a job. Returns what came of each kind of requests.
///
/// # Errors
/// When there are no clients, or requests to share.
pub async fn play(
    target: &Target,
    stages: Vec<Stage>,
    clients: usize,
    submit_every: u64,
) -> Result<[Tally; Kind::ALL.len()]> {
    anyhow::ensure!(clients > 0 && submit_every > 0, "there must be a client, and a request that submits");
    let clients = (0..clients).map(|_| Player { target: target.clone(), submit_every }).collect();
    let kind = move |number| Kind::of(number, submit_every) as usize;
    Ok(paced(clients, schedule(stages), kind).await)
}

struct Player {
    target: Target,
    submit_every: u64,
}

impl Client for Player {
    async fn send(&mut self, number: u64) -> Result<u16> {
        let request = match Kind::of(number, self.submit_every) {
            Kind::Read => self.target.read(number),
            Kind::Submit => self.target.request(Method::POST, TEXT).json(&prompt(number)),
        };
        let answer = request.send().await.map_err(reqwest::Error::without_url)?;
        let status = answer.status().as_u16();
        answer.bytes().await.map_err(reqwest::Error::without_url)?;
        Ok(status)
    }
}
