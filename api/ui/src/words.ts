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
  PodsNotStarting: "the workers do not start; their administrator has to act",
  PodsRefused: "the workers may not start; their administrator has to act",
  ModelNotLoaded: "the workers cannot load their model; their administrator has to act",
  BackingOff: "it failed and is tried again soon",
  WorkerLost: "its worker was lost; another one takes over",
  WorkerTaken: "its worker had another job; another one takes over",
  HandedBack: "its worker ended; another one takes over",
};

export function stage(name: string): string {
  return STAGES.find(([known]) => known === name)?.[1] ?? name.replaceAll("_", " ");
}

/** Where a job is, without its percent: this is read out whenever it changes. */
export function state(job: JobStatus): string {
  switch (job.status) {
    case "pending":
      return waits(job);
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

/** The same for a list, in which the stage of a job that runs would only flicker. */
export function brief(job: JobStatus): string {
  if (job.status === "processing") return job.progress ? `Being made, ${percent(job.progress.percent)}` : "Being made";
  return job.status === "pending" ? place(job) : state(job);
}

function waits(job: JobStatus): string {
  const reason = job.reason && (REASONS[job.reason] ?? job.reason);
  return reason ? `${place(job)}: ${reason}` : place(job);
}

function place({ queue_position: position }: JobStatus): string {
  if (!position) return "Waiting";
  return position === 1 ? "Next in the queue" : `Number ${position} in the queue`;
}

/** With a space that does not break. */
export function percent(value: number): string {
  return `${value}\u00a0%`;
}

export function ended(job: JobStatus): boolean {
  return job.status !== "pending" && job.status !== "processing";
}
