// What statuses, stages and reasons are called on the page.
import type { JobStatus } from "./api";

/** The stages of every job, in their order; a worker may report others. */
export const STAGES: [name: string, words: string][] = [
  ["fetch", "Fetching the input"],
  ["encode", "Reading the input"],
  ["sparse_structure", "Coarse shape"],
  ["structured_latent", "Fine shape and surface"],
  ["mesh", "Mesh"],
  ["gaussians", "Gaussians"],
  ["radiance_field", "Radiance field"],
  ["upload", "Storing the files"],
];

const REASONS: Record<string, string> = {
  NoIdleWorker: "all workers are busy",
  PoolStarting: "the workers are starting",
  NoPool: "no worker pool takes it now",
  BackingOff: "it failed and is tried again soon",
  WorkerLost: "its worker was lost; another one takes over",
  HandedBack: "its worker ended; another one takes over",
};

export function stage(name: string): string {
  return STAGES.find(([known]) => known === name)?.[1] ?? name.replaceAll("_", " ");
}

/** Where a job is, without its percent: this is read out whenever it changes. */
export function state(job: JobStatus): string {
  switch (job.status) {
    case "pending":
      return job.reason ? `Waiting: ${REASONS[job.reason] ?? job.reason}` : "Waiting for a worker";
    case "processing":
      return job.progress ? stage(job.progress.stage) : "A worker has it";
    case "completed":
      return "Done";
    case "failed":
      return "Failed";
    case "cancelled":
      return "Cancelled";
  }
}

export function ended(job: JobStatus): boolean {
  return job.status !== "pending" && job.status !== "processing";
}
