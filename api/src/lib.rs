//! REST facade over GenerationJobs.
