//! The settings, from the environment or the command line.

use std::path::PathBuf;

use crate::webhooks::WebhookSettings;

/// What the server needs to know. `--help` is the manual.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// The file with the API keys, `keys: [{id, user, namespace, sha256}]`; read again when it changes.
    #[arg(long, env = "API_KEYS_FILE")]
    pub api_keys_file: PathBuf,

    /// Where files that come over REST are stored: gs://bucket/prefix or file:///path. The workers must be able to read it.
    #[arg(long, env = "INPUT_URI")]
    pub input_uri: String,

    /// Where the workers' outputs go unless a job says otherwise: gs://bucket/prefix or file:///path. Jobs that are not in Kubernetes any more
    /// are answered for from the records there; without it they are not.
    #[arg(long, env = "OUTPUT_URI")]
    pub output_uri: Option<String>,

    /// The address of a Cloud Storage emulator, instead of Google's.
    #[arg(long, env = "STORAGE_EMULATOR_HOST")]
    pub storage_emulator_host: Option<String>,

    /// The namespace whose worker pools serve every namespace.
    #[arg(long, env = "POOL_NAMESPACE")]
    pub pool_namespace: String,

    /// Folders, separated by commas, that file:// results may lie in; the folders of INPUT_URI and OUTPUT_URI are always among them.
    #[arg(long, env = "TRELLIS_FILE_ROOTS", value_delimiter = ',')]
    pub file_roots: Vec<PathBuf>,

    /// The most bytes that the files of a request may have, all together. Workers read files of at most 32 MiB.
    #[arg(long, env = "MAX_IMAGE_BYTES", default_value_t = 20 << 20)]
    pub max_image_bytes: usize,

    /// How webhooks are sent.
    #[command(flatten)]
    pub webhooks: WebhookSettings,
}

impl Settings {
    /// The largest body, in bytes: the files in base64, and room for the other fields.
    #[must_use]
    pub fn max_body_bytes(&self) -> usize {
        self.max_image_bytes.div_ceil(3).saturating_mul(4).saturating_add(64 << 10)
    }
}
