//! The CustomResourceDefinitions, from the types.

use crate::{GenerationJob, WorkerPool};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The definitions of both kinds as the API server is to get them: GenerationJob, WorkerPool.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [GenerationJob::crd(), WorkerPool::crd()]
}
