//! Runs the jobs that the operator assigns to its pod.
