//! How the operator runs in tests.

use trellis_operator::Settings;

/// The settings of a replica that looks after one namespace, in which its Lease is too. Tests change what they are about.
pub fn operator_settings(namespace: &str, replica: &str) -> Settings {
    Settings {
        operator_namespace: namespace.into(),
        pod_name: replica.into(),
        lease_name: "operator".into(),
        output_uri: "gs://assets/out".into(),
        storage_emulator_host: None,
        worker_service_account: "worker".into(),
        listen: ([127, 0, 0, 1], 0).into(),
        log_level: "info".into(),
        watch_namespace: Some(namespace.into()),
        history_completed: None,
        history_failed: None,
    }
}
