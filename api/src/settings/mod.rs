//! The settings, from the environment or the command line.

pub(crate) mod policy;

use std::path::PathBuf;

use crate::webhooks::WebhookSettings;

/// What the server needs to know. `--help` is the manual.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// The file with the API keys, `keys: [{id, user, namespace, sha256}]`; read again when it changes.
    #[arg(long, env = "API_KEYS_FILE")]
    pub api_keys_file: PathBuf,

    /// The settings file: tokens, quotas, rates, web pages of other origins, proxies; read again when it changes. docs/api-settings.md has its
    /// fields. Nothing is limited, and no token is taken, without one.
    #[arg(long = "config", env = "CONFIG_FILE")]
    pub config_file: Option<PathBuf>,

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

    /// The certificate that the API is served with, and those up to its authority's, as PEM; read again when it changes. Without one the API is
    /// served without TLS.
    #[arg(long, env = "TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key, as PEM.
    #[arg(long, env = "TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// How many connections may be open at a time; further ones are closed at once.
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 10_000)]
    pub max_connections: usize,

    /// How webhooks are sent.
    #[command(flatten)]
    pub webhooks: WebhookSettings,
}

impl Settings {
    /// What has to be known; the rest is as without any other argument.
    #[must_use]
    pub fn new(api_keys_file: PathBuf, input_uri: String, pool_namespace: String) -> Self {
        Self {
            api_keys_file,
            config_file: None,
            input_uri,
            storage_emulator_host: None,
            pool_namespace,
            output_uri: None,
            file_roots: Vec::new(),
            max_image_bytes: 20 << 20,
            tls_cert: None,
            tls_key: None,
            max_connections: 10_000,
            webhooks: WebhookSettings::default(),
        }
    }

    /// The largest body, in bytes: the files in base64, and room for the other fields.
    #[must_use]
    pub fn max_body_bytes(&self) -> usize {
        self.max_image_bytes.div_ceil(3).saturating_mul(4).saturating_add(64 << 10)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(more: &[&str]) -> Result<Settings, clap::Error> {
        let needed = [
            "api",
            "--api-keys-file",
            "keys.yaml",
            "--input-uri",
            "gs://bucket",
            "--pool-namespace",
            "trellis",
        ];
        Arguments::try_parse_from([&needed[..], more].concat()).map(|arguments| arguments.settings)
    }

    #[test]
    fn what_is_left_out_is_the_same_for_programs_and_for_code() {
        let code = Settings::new("keys.yaml".into(), "gs://bucket".into(), "trellis".into());
        assert_eq!(format!("{:?}", parse(&[]).unwrap()), format!("{code:?}"));
    }

    #[test]
    fn a_certificate_goes_with_its_key() {
        assert!(parse(&["--tls-cert", "tls.crt", "--tls-key", "tls.key"]).is_ok());
        for alone in [["--tls-cert", "tls.crt"], ["--tls-key", "tls.key"]] {
            assert!(parse(&alone).is_err(), "{alone:?}");
        }
    }
}
