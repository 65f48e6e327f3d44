//! The program `trellis-api`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use tokio::net::TcpListener;
use trellis_api::{CleanSettings, Key, Keys, Listeners, MasterSecrets, Scope, Settings};
use trellis_telemetry::Traces;

/// Answers from the cache are made of hundreds of small pieces: with the C library's allocator each takes a fifth more of the CPU. It also gives back
/// what a rush of requests took.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// REST facade over GenerationJobs.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Serves where left out.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serves the API.
    Serve(Box<Serve>),
    /// Deletes from the storage what nobody will ask for any more: what attempts that were cut off left, images of jobs that are gone, and, where
    /// asked to, old results. Says of each object why.
    CleanStorage(CleanStorage),
    /// Makes an API key: prints the key, once, on standard error and its entry for the keys file on standard output.
    HashKey(HashKey),
    /// Prints what a receiver checks webhooks with: of the jobs of a user of the API, or of those that kubectl makes in a namespace.
    WebhookSecret(WebhookSecret),
    /// Prints the OpenAPI document, from which clients, the web page among them, get their types.
    Openapi,
}

#[derive(Debug, Parser)]
struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// The address to listen on.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// The address that serves /metrics, and /livez and /readyz once more.
    #[arg(long, env = "METRICS_LISTEN", default_value = "0.0.0.0:9090")]
    metrics_listen: SocketAddr,
    /// What to log: error, warn, info, debug, trace, or target=level pairs.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    log_level: String,
}

#[derive(Debug, clap::Args)]
struct CleanStorage {
    #[command(flatten)]
    settings: CleanSettings,
    /// What to log: error, warn, info, debug, trace, or target=level pairs.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    log_level: String,
}

#[derive(Debug, clap::Args)]
struct HashKey {
    /// The user the key is for.
    #[arg(long)]
    user: String,
    /// The namespace of the user's jobs.
    #[arg(long)]
    namespace: String,
    /// Names the key in the file; the user's id where left out.
    #[arg(long)]
    id: Option<String>,
    /// What the key allows, once for each; to read and to write where left out.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
    /// When the key ceases to be valid, such as 2027-01-31T00:00:00Z. Never where left out.
    #[arg(long)]
    expires: Option<k8s_openapi::jiff::Timestamp>,
}

#[derive(Debug, clap::Args)]
struct WebhookSecret {
    /// The file with the secret that webhooks are signed with.
    #[arg(long, env = "WEBHOOK_SECRET_FILE")]
    webhook_secret_file: PathBuf,
    /// The namespace of the jobs.
    #[arg(long)]
    namespace: String,
    /// The user whose API key makes the jobs; those that do not come over REST where left out.
    #[arg(long, default_value = "")]
    user: String,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Some(Command::HashKey(wanted)) => hash_key(wanted),
        Some(Command::WebhookSecret(wanted)) => webhook_secret(&wanted),
        Some(Command::Openapi) => Ok(writeln!(std::io::stdout(), "{}", trellis_api::document())?),
        Some(Command::CleanStorage(wanted)) => clean_storage(wanted),
        Some(Command::Serve(serve)) => run(*serve),
        // In a pod all settings come from the environment.
        None => run(Serve::parse_from(["trellis-api"])),
    }
}

fn hash_key(HashKey { user, namespace, id, scopes, expires }: HashKey) -> anyhow::Result<()> {
    let id = id.unwrap_or_else(|| user.clone());
    let (key, mut entry) =
        Key::generate(id, user, namespace).context("cannot get random bytes from the system")?;
    entry.expires = expires;
    if !scopes.is_empty() {
        entry.scopes = scopes.into_iter().collect();
    }
    let file = serde_yaml::to_string(&Keys { keys: vec![entry] })?;
    writeln!(std::io::stderr(), "The key, shown only now: {key}")?;
    write!(std::io::stdout(), "{file}")?;
    Ok(())
}

fn webhook_secret(wanted: &WebhookSecret) -> anyhow::Result<()> {
    let secrets = MasterSecrets::read(&wanted.webhook_secret_file)?;
    if let Some(secret) = secrets.of(&wanted.namespace, &wanted.user).first() {
        writeln!(std::io::stdout(), "{}", secret.to_text())?;
    }
    Ok(())
}

#[tokio::main]
async fn clean_storage(CleanStorage { settings, log_level }: CleanStorage) -> anyhow::Result<()> {
    let _logging = trellis_telemetry::init_logs("trellis-api", &log_level)?;
    let client = kube::Client::try_default().await.context("cannot find out how to reach Kubernetes")?;
    Ok(trellis_api::clean_storage(&settings, client, &mut std::io::stdout()).await?)
}

#[tokio::main]
async fn run(serve: Serve) -> anyhow::Result<()> {
    let _logging = trellis_telemetry::init_logs("trellis-api", &serve.log_level)?;
    let traces = Traces::from_environment("trellis-api")?;
    let shutdown = trellis_telemetry::shutdown_signal()?;
    let client = kube::Client::try_default().await.context("cannot find out how to reach Kubernetes")?;
    let listeners =
        Listeners { api: listen(serve.listen).await?, metrics: listen(serve.metrics_listen).await? };
    tracing::info!(address = %serve.listen, metrics = %serve.metrics_listen, "listening");
    let served = trellis_api::serve(listeners, serve.settings, client, shutdown).await;
    let ended = tokio::task::spawn_blocking(|| traces.end()).await;
    served?;
    Ok(ended?)
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
