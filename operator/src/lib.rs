//! Schedules GenerationJobs onto warm GPU worker pods.
