//! Names of labels and their values, in one place because one part writes what another selects.

/// On a worker pod: the name of its pool.
pub const POOL: &str = "trellis3d.dev/pool";
/// On a job that came over REST: the id of the user whose API key created it.
pub const USER: &str = "trellis3d.dev/user";
/// On a job that failed for good, with the value `true`: `kubectl get gj -l trellis3d.dev/dead-letter`. With [`DEAD_LETTER_RETRY`] the job is
/// tried again.
pub const DEAD_LETTER: &str = "trellis3d.dev/dead-letter";
/// The value of [`DEAD_LETTER`] by which somebody has a job tried again.
pub const DEAD_LETTER_RETRY: &str = "retry";

/// An annotation on a job: the W3C `traceparent` of the trace that it is part of. Operator and worker add their spans to it.
pub const TRACEPARENT: &str = "trellis3d.dev/traceparent";

/// The recommended label for an application's name.
pub const NAME: &str = "app.kubernetes.io/name";
/// The recommended label for a part of an application.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// The recommended label for the tool that manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The value of [`NAME`] on everything of this project.
pub const NAME_TRELLIS: &str = "trellis";
/// The value of [`COMPONENT`] on worker pods.
pub const COMPONENT_WORKER: &str = "worker";
/// The value of [`MANAGED_BY`] on jobs that came over REST.
pub const MANAGED_BY_API: &str = "trellis-api";
/// The value of [`MANAGED_BY`] on worker pods.
pub const MANAGED_BY_OPERATOR: &str = "trellis-operator";

/// The name of the container in a pool's pod template that the operator completes.
pub const WORKER_CONTAINER: &str = "worker";
