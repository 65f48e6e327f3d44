//! The custom resources GenerationJob and WorkerPool.
