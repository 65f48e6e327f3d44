//! Which requests to the API server are the price of a job.

use super::NAMESPACE;
use crate::AuditEvent;

/// The writes by which jobs of a namespace are carried out: those about the jobs, whoever makes them, and all that the product's own
/// programs write there and in their own namespace (statuses, events, pods), but for the renewal of the leader's Lease, which is the
/// same without any job.
pub fn job_writes<'a>(requests: &'a [AuditEvent], namespace: &str) -> Vec<&'a AuditEvent> {
    let programs = format!("system:serviceaccount:{NAMESPACE}:");
    requests
        .iter()
        .filter(|request| request.is_write())
        .filter(|request| {
            let Some(object) = &request.object_ref else { return false };
            let here = [namespace, NAMESPACE].contains(&object.namespace.as_str());
            let by_program = request.user.username.starts_with(&programs) && object.resource != "leases";
            here && by_program || request.is_about(namespace, "generationjobs")
        })
        .collect()
}
