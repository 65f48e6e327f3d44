//! Webhooks: who asked for it is told by a signed POST what becomes of a job, over REST or by kubectl.
//!
//! A delivery follows from the job alone: what has happened, and what `status.webhook` says was told of it. One replica sends at a time. Whoever is next
//! goes on where the last one ended, and what it may not have written down it sends again, with the same id: at least once.

mod decide;
mod deliver;
mod leader;
mod metrics;
mod payload;
mod progress;
mod queue;
mod schedule;
mod secret;
mod sender;
mod settings;

use std::path::PathBuf;

use kube::runtime::events::{Recorder, Reporter};
use kube::{Api, Client};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use trellis_crds::GenerationJob;
use trellis_storage::HttpsSender;

use crate::auth::Caller;
use crate::cluster::{self, ClusterError};
use deliver::Courier;
use metrics::Metrics;
use schedule::Schedule;
use secret::SecretFile;

pub use secret::{MasterSecrets, SecretError, UserSecret};
pub use settings::WebhookSettings;

/// How often a write is tried that others get ahead of.
const TRIES: u32 = 3;
/// The name under which events are published.
const REPORTER: &str = "trellis-api";

/// Why webhooks cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The certificate authorities cannot be read.
    #[error("cannot read the file of certificate authorities {path}: {source}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS for webhooks: {0}")]
    Https(String),
    /// A metric cannot be registered.
    #[error("cannot set up the metrics of webhooks: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Why a webhook is not taken with a request.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum WebhookRefused {
    /// The installation sends none.
    #[error("This installation sends no webhooks. Follow the job instead, or ask its administrator.")]
    Off,
    /// Nothing is sent to such an address.
    #[error("Nothing is sent there: {0}.")]
    Address(String),
}

/// Why messages cannot be delivered again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedeliverError {
    /// The job goes on.
    #[error("The job has not ended: what has not been delivered yet is tried anyway.")]
    NotEnded,
    /// There is nothing to deliver.
    #[error("The job has no webhook, or one that is told nothing of how the job ended.")]
    Nothing,
    /// The job's status cannot be written.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// Webhooks as the rest of the service sees them.
#[derive(Clone)]
pub(crate) struct Webhooks {
    client: Client,
    secrets: Option<SecretFile>,
    https: HttpsSender,
    settings: WebhookSettings,
    metrics: Metrics,
}

impl Webhooks {
    /// Sets up what `settings` ask for.
    pub(crate) fn new(
        client: Client,
        settings: WebhookSettings,
        registry: &Registry,
    ) -> Result<Self, WebhookError> {
        let secrets = settings.secret_file.clone().map(SecretFile::open).transpose()?;
        let authorities = match &settings.ca_file {
            None => Vec::new(),
            Some(path) => std::fs::read(path)
                .map_err(|source| WebhookError::Authorities { path: path.clone(), source })?,
        };
        let https = HttpsSender::new(settings.networks.clone(), &authorities)
            .map_err(|error| WebhookError::Https(error.to_string()))?;
        Ok(Self { client, secrets, https, settings, metrics: Metrics::register(registry)? })
    }

    /// Sends, whenever this replica is the one to do it, until it is told to `resign`. The Lease lies in `namespace`.
    pub(crate) fn run(
        &self,
        namespace: String,
        resign: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let courier = Courier {
            client: self.client.clone(),
            secrets: self.secrets.clone(),
            https: self.https.clone(),
            schedule: Schedule::new(self.settings.retry_seconds.clone()),
            metrics: self.metrics.clone(),
            recorder: Recorder::new(self.client.clone(), Reporter::from(REPORTER)),
        };
        let (client, settings) = (self.client.clone(), self.settings.clone());
        async move {
            let work = |stop| sender::send(courier.clone(), settings.namespaces.clone(), stop);
            leader::lead(client, &namespace, &settings.lease, resign, work).await;
        }
    }

    /// Whether a webhook at `address` is taken.
    pub(crate) fn check(&self, address: &str) -> Result<(), WebhookRefused> {
        if self.secrets.is_none() {
            return Err(WebhookRefused::Off);
        }
        self.https.check(address).map_err(|error| match error {
            trellis_storage::Error::Refused { why, .. } => WebhookRefused::Address(why),
            other => WebhookRefused::Address(other.to_string()),
        })
    }

    /// What the caller's messages are signed with; `None` where webhooks are off.
    pub(crate) fn secret(&self, caller: &Caller) -> Option<UserSecret> {
        self.secrets.as_ref()?.current().of(&caller.namespace, &caller.user).into_iter().next()
    }

    /// Has all messages about how the job ended, and that it began, delivered again, and returns the job as it is then.
    pub(crate) async fn redeliver(&self, job: &GenerationJob) -> Result<GenerationJob, RedeliverError> {
        let api: Api<GenerationJob> =
            Api::namespaced(self.client.clone(), job.metadata.namespace.as_deref().unwrap_or_default());
        let mut tries = 0;
        loop {
            // The job as it is now: a watch may lag behind what a sender has just written.
            let job = cluster::call(api.get(job.metadata.name.as_deref().unwrap_or_default())).await?;
            if !job.is_finished() {
                return Err(RedeliverError::NotEnded);
            }
            let status = decide::again(&job).ok_or(RedeliverError::Nothing)?;
            tries += 1;
            match cluster::call(deliver::write(&api, &job, &status)).await {
                Err(ClusterError::Unavailable(_)) if tries < TRIES => {}
                written => return Ok(written?),
            }
        }
    }
}
