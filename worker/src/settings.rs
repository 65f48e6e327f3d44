//! What a worker is told by its environment; `docs/architecture.md` lists it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use trellis::device::DeviceChoice;
use trellis_storage::ObjectUri;

/// Runs the GenerationJobs that the operator assigns to this pod.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Settings {
    /// The name of this pod.
    #[arg(long, env = "POD_NAME")]
    pub(crate) pod_name: String,

    /// The uid of this pod: an assignment counts only when it names this one.
    #[arg(long, env = "POD_UID")]
    pub(crate) pod_uid: String,

    /// The model folder, which holds `pipeline.json`: gs://bucket/folder or file:///folder.
    #[arg(long, env = "TRELLIS_MODEL_URI", value_parser = object_uri)]
    pub(crate) model_uri: ObjectUri,

    /// Where outputs go unless the job says so: gs://bucket/prefix or file:///folder.
    #[arg(long, env = "TRELLIS_OUTPUT_URI", value_parser = object_uri)]
    pub(crate) output_uri: ObjectUri,

    /// The folder for downloaded models.
    #[arg(long, env = "TRELLIS_CACHE_DIR", default_value = "/var/cache/trellis")]
    pub(crate) cache_dir: PathBuf,

    /// Folders that jobs may name in file:// addresses, separated by commas, besides that of the outputs.
    #[arg(long, env = "TRELLIS_FILE_ROOTS", value_delimiter = ',')]
    pub(crate) file_roots: Vec<PathBuf>,

    /// A Cloud Storage emulator, as host:port.
    #[arg(long, env = "STORAGE_EMULATOR_HOST")]
    pub(crate) storage_emulator_host: Option<String>,

    /// The only namespace to take jobs from; all of them when not set.
    #[arg(long, env = "WATCH_NAMESPACE")]
    pub(crate) watch_namespace: Option<String>,

    /// What runs the model: auto (the GPU where there is one, else the CPU), cpu, or cuda.
    #[arg(long, env = "TRELLIS_DEVICE", default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,

    /// After how many attempts at jobs this worker ends; 0 for never.
    #[arg(long, env = "TRELLIS_MAX_JOBS", default_value_t = 0)]
    pub(crate) max_jobs: u32,

    /// The file that is told why the worker ends, where there is one.
    #[arg(long, env = "TRELLIS_TERMINATION_LOG", default_value = "/dev/termination-log")]
    pub(crate) termination_log: PathBuf,

    /// Where `/livez`, `/readyz` and `/metrics` are served.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,

    /// error, warn, info, debug, trace, or a filter such as info,kube=debug.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: String,
}

impl Settings {
    /// The folders that `file://` addresses of jobs may lie in.
    pub(crate) fn file_roots(&self) -> Vec<PathBuf> {
        self.file_roots.iter().cloned().chain(self.output_uri.file_path().map(Into::into)).collect()
    }
}

fn object_uri(text: &str) -> Result<ObjectUri, trellis_storage::Error> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Settings::command().debug_assert();
    }

    #[test]
    fn an_address_that_is_not_offered_is_named_at_the_start() {
        let arguments = [
            "trellis-worker",
            "--pod-name=a",
            "--pod-uid=b",
            "--model-uri=s3://b/m",
            "--output-uri=gs://bucket",
        ];
        let error = Settings::try_parse_from(arguments).unwrap_err().to_string();
        assert!(error.contains("s3://b/m") && error.contains("gs://"), "{error}");
    }
}
