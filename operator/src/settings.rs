//! What the operator is told by its environment.

use std::net::SocketAddr;

/// What the operator is told, by flags or by the environment.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "trellis-operator", version, about = "Schedules GenerationJobs onto warm GPU worker pods")]
pub struct Settings {
    /// The operator's own namespace. Its WorkerPools serve the jobs of every namespace, and its Lease is there.
    #[arg(long, env)]
    pub operator_namespace: String,

    /// The name of this replica's pod: the identity in the Lease and in events.
    #[arg(long, env)]
    pub pod_name: String,

    /// The Lease by which replicas agree on the one that writes.
    #[arg(long, env, default_value = "trellis-operator")]
    pub lease_name: String,

    /// Where workers put outputs unless a job says so: gs://bucket/prefix or file:///path.
    #[arg(long, env)]
    pub output_uri: String,

    /// The address of a Cloud Storage emulator for the workers; Google's where left out or empty.
    #[arg(long, env)]
    pub storage_emulator_host: Option<String>,

    /// The service account of worker pods, in the pool's namespace, unless the pool's template names one.
    #[arg(long, env, default_value = "trellis-worker")]
    pub worker_service_account: String,

    /// The address that serves /livez, /readyz and /metrics.
    #[arg(long, env, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// What to log: error, warn, info, debug, trace, or target=level pairs.
    #[arg(long, env, default_value = "info")]
    pub log_level: String,

    /// The only namespace whose jobs, pools and pods are looked at; all of the cluster where left out or empty.
    #[arg(long, env)]
    pub watch_namespace: Option<String>,

    /// How many jobs that completed are kept in each namespace; those that ended first are deleted, their files stay. All where left out.
    #[arg(long, env)]
    pub history_completed: Option<usize>,

    /// The same for jobs that failed or were cancelled.
    #[arg(long, env)]
    pub history_failed: Option<usize>,
}
