//! The local Kubernetes cluster and the tests that need one.
