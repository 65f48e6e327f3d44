//! The container `worker`: environment, port, probes, accelerator.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, PodSpec, Probe,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use trellis_crds::labels::WORKER_CONTAINER;
use trellis_crds::{Accelerator, WorkerPool};

use super::{BuildError, CACHE_DIR};
use crate::settings::Settings;

const PORT: i32 = 8080;
const PORT_NAME: &str = "http";

/// The container that the operator completes.
pub(super) fn worker(spec: &mut PodSpec) -> Option<&mut Container> {
    spec.containers.iter_mut().find(|container| container.name == WORKER_CONTAINER)
}

pub(super) fn complete(spec: &mut PodSpec, pool: &WorkerPool, settings: &Settings) -> Result<(), BuildError> {
    let container = worker(spec).ok_or(BuildError::NoWorkerContainer)?;
    add_environment(container, environment(pool, settings));
    let ports = container.ports.get_or_insert_default();
    if ports.iter().all(|port| port.name.as_deref() != Some(PORT_NAME)) {
        let name = Some(PORT_NAME.to_owned());
        ports.push(ContainerPort { name, container_port: PORT, ..ContainerPort::default() });
    }
    add_probes(container);
    if let Some(accelerator) = &pool.spec.accelerator {
        request(container, accelerator);
    }
    Ok(())
}

fn environment(pool: &WorkerPool, settings: &Settings) -> Vec<EnvVar> {
    let field = |name: &str, path: &str| EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.into(), ..Default::default() }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let value = |name: &str, value: &str| EnvVar {
        name: name.into(),
        value: Some(value.into()),
        ..EnvVar::default()
    };
    let mut environment = vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_UID", "metadata.uid"),
        value("TRELLIS_MODEL_URI", &pool.spec.model_uri),
        value("TRELLIS_OUTPUT_URI", &settings.output_uri),
        value("TRELLIS_CACHE_DIR", CACHE_DIR),
    ];
    if pool.spec.max_jobs_per_worker > 0 {
        environment.push(value("TRELLIS_MAX_JOBS", &pool.spec.max_jobs_per_worker.to_string()));
    }
    let from_settings = [
        ("STORAGE_EMULATOR_HOST", &settings.storage_emulator_host),
        // No job of another namespace is given to them.
        ("WATCH_NAMESPACE", &settings.watch_namespace),
    ];
    let set = from_settings.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)));
    environment.extend(set.filter(|(_, text)| !text.is_empty()).map(|(name, text)| value(name, text)));
    environment
}

fn add_environment(container: &mut Container, environment: Vec<EnvVar>) {
    let present = container.env.get_or_insert_default();
    for variable in environment {
        if present.iter().all(|known| known.name != variable.name) {
            present.push(variable);
        }
    }
}

/// Loading a model takes minutes, during which the worker is alive and not ready. A computation may hold its processors for seconds.
fn add_probes(container: &mut Container) {
    let probe = |path: &str, period: i32, failures: i32| Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String(PORT_NAME.into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    };
    container.startup_probe.get_or_insert_with(|| probe("/livez", 2, 60));
    container.liveness_probe.get_or_insert_with(|| probe("/livez", 10, 6));
    container.readiness_probe.get_or_insert_with(|| probe("/readyz", 2, 3));
}

/// Extended resources are requested by their limit.
/// <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#consuming-extended-resources>
fn request(container: &mut Container, accelerator: &Accelerator) {
    if accelerator.count > 0 {
        let resources = container.resources.get_or_insert_default();
        let limits = resources.limits.get_or_insert_default();
        let count = || Quantity(accelerator.count.to_string());
        limits.entry(accelerator.resource.clone()).or_insert_with(count);
    }
}
