//! The Pod Security Standard "restricted", where the template says nothing else.
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>

use k8s_openapi::api::core::v1::{Capabilities, PodSpec, SeccompProfile};

/// The user and group of worker processes: "nonroot" in common base images.
const NOBODY: i64 = 65532;

pub(super) fn complete(spec: &mut PodSpec) {
    let pod = spec.security_context.get_or_insert_default();
    pod.run_as_non_root.get_or_insert(true);
    pod.run_as_user.get_or_insert(NOBODY);
    pod.run_as_group.get_or_insert(NOBODY);
    pod.fs_group.get_or_insert(NOBODY);
    pod.seccomp_profile
        .get_or_insert_with(|| SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None });
    let Some(worker) = super::container::worker(spec) else { return };
    let container = worker.security_context.get_or_insert_default();
    container.allow_privilege_escalation.get_or_insert(false);
    container.read_only_root_filesystem.get_or_insert(true);
    container
        .capabilities
        .get_or_insert_with(|| Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() });
}
