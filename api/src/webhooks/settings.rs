//! The settings of webhooks, from the environment or the command line.

use std::path::PathBuf;

use trellis_storage::IpNet;

/// How webhooks are sent.
#[derive(Debug, Clone, clap::Args)]
pub struct WebhookSettings {
    /// The file with the secret that webhooks are signed with: a line of at least 32 characters, such as `openssl rand -base64 32` makes. For a
    /// while it may have two, the new one first: messages are signed with both. Webhooks are off where left out.
    #[arg(long = "webhook-secret-file", env = "WEBHOOK_SECRET_FILE")]
    pub secret_file: Option<PathBuf>,

    /// Networks, separated by commas, that webhooks may be sent to beside the public internet, at any port: 10.20.0.0/16,fd00:1::/64.
    #[arg(long = "webhook-networks", env = "WEBHOOK_NETWORKS", value_delimiter = ',')]
    pub networks: Vec<IpNet>,

    /// A file with certificate authorities (PEM) that receivers' certificates may be of, beside the system's.
    #[arg(long = "webhook-ca-file", env = "WEBHOOK_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// The namespaces, separated by commas, whose jobs' webhooks are told. All where left out.
    #[arg(long = "job-namespaces", env = "JOB_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// The Lease, in the pools' namespace, by which replicas agree on the one that sends.
    #[arg(long = "webhook-lease", env = "WEBHOOK_LEASE", default_value = "trellis-api-webhooks")]
    pub lease: String,

    /// How long to wait after each attempt that failed, in seconds. For tests: docs/webhooks.md tells receivers the usual times.
    #[arg(
        long = "webhook-retry-seconds",
        env = "WEBHOOK_RETRY_SECONDS",
        value_delimiter = ',',
        default_value = "5,30,120,600,3600,18000,36000",
        hide = true
    )]
    pub retry_seconds: Vec<u32>,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            secret_file: None,
            networks: Vec::new(),
            ca_file: None,
            namespaces: Vec::new(),
            lease: "trellis-api-webhooks".into(),
            retry_seconds: vec![5, 30, 120, 600, 3600, 18_000, 36_000],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        webhooks: WebhookSettings,
    }

    #[test]
    fn the_defaults_are_those_of_the_command_line() {
        let parsed = Program::try_parse_from(["trellis-api"]).unwrap().webhooks;
        assert_eq!(format!("{parsed:?}"), format!("{:?}", WebhookSettings::default()));
    }
}
