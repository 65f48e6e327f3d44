// Requests to the service that serves this page. The types come from its OpenAPI document.
import type { components } from "./schema";

type Schemas = components["schemas"];
export type Job = Schemas["Job"];
export type JobStatus = Schemas["JobStatus"];
export type Status = Schemas["Status"];
export type JobList = Schemas["JobList"];
export type JobResponse = Schemas["JobResponse"];
export type Health = Schemas["ServiceHealth"];
export type Quality = Schemas["Quality"];
export type Format = Schemas["Format"];
export type Output = Schemas["OutputView"];
type ProblemBody = Schemas["Problem"];
type Text = Schemas["TextTo3d"];

const KEY = "trellis-api-key";

/** A refusal, in the service's own words. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** The wrong fields, by JSON pointer. */
    readonly errors: { pointer: string; detail: string }[] = [],
    /** Seconds after which a new attempt makes sense. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }

  /** Whether the same request may be answered later: the service is away, or asks to wait. */
  get passes(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** The key stays in this tab and goes into headers alone, never into addresses. */
export const key = {
  get: (): string => sessionStorage.getItem(KEY) ?? "",
  set: (value: string): void => sessionStorage.setItem(KEY, value),
};

export const health = (): Promise<Health> => json("/api/v1/health");
export const job = (id: string): Promise<Job> => json(path(id));
export const cancel = (id: string): Promise<JobStatus> => json(`${path(id)}/cancel`, { method: "POST" });
export const retry = (id: string): Promise<JobResponse> => json(`${path(id)}/retry`, { method: "POST" });

export async function remove(id: string): Promise<void> {
  await send(path(id), { method: "DELETE" });
}

/** A page of jobs, and how many there are of each status. */
export function jobs(status: string, limit: number, cursor?: string): Promise<JobList> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (status) query.set("status", status);
  if (cursor) query.set("cursor", cursor);
  return json(`/api/v1/jobs?${query}`);
}

/** How far a job is, and the tag of that; nothing where it is still what `tag` says. */
export async function status(id: string, tag?: string): Promise<{ status: JobStatus; tag?: string } | undefined> {
  const response = await send(`${path(id)}/status`, { headers: tag ? { "If-None-Match": tag } : {} });
  if (response.status === 304) return undefined;
  return { status: (await response.json()) as JobStatus, tag: response.headers.get("ETag") ?? undefined };
}

/** The stream of a job's statuses, after the event called `last`. */
export function events(id: string, signal: AbortSignal, last?: string): Promise<Response> {
  const headers = new Headers({ Accept: "text/event-stream" });
  if (last) headers.set("Last-Event-ID", last);
  return send(`${path(id)}/events`, { headers, signal });
}

/** The path of a file that a job made. */
export function result(id: string, format: string): string {
  return `${path(id)}/result?${new URLSearchParams({ format })}`;
}

/** A file, by the path that names it; `read` hears how many bytes have come. */
export async function file(url: string, read: (bytes: number) => void = () => {}): Promise<File> {
  const response = await send(url);
  const pieces: BlobPart[] = [];
  let bytes = 0;
  const reader = response.body!.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      pieces.push(next.value);
      read((bytes += next.value.length));
    }
  } catch {
    throw unreachable();
  }
  const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
  return new File(pieces, name ?? "asset", { type: response.headers.get("Content-Type") ?? "" });
}

/** An asset from what `form` holds: pictures, or for a variant a mesh and a prompt. */
export function fromFiles(kind: "image-to-3d" | "variant", form: FormData, once: string): Promise<JobResponse> {
  return json(`/api/v1/generate/${kind}`, { method: "POST", body: form, headers: { "Idempotency-Key": once } });
}

export function fromText(request: Partial<Text> & { prompt: string }, once: string): Promise<JobResponse> {
  return json("/api/v1/generate/text-to-3d", {
    method: "POST",
    body: JSON.stringify(request),
    headers: { "Content-Type": "application/json", "Idempotency-Key": once },
  });
}

function path(id: string): string {
  return `/api/v1/jobs/${encodeURIComponent(id)}`;
}

async function json<T>(url: string, init?: RequestInit): Promise<T> {
  return (await send(url, init)).json() as Promise<T>;
}

async function send(url: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (key.get()) headers.set("Authorization", `Bearer ${key.get()}`);
  let response: Response;
  try {
    response = await fetch(url, { ...init, headers });
  } catch {
    throw unreachable();
  }
  if (!response.ok && response.status !== 304) throw await problem(response);
  return response;
}

function unreachable(): Problem {
  return new Problem(0, "unreachable", "The service cannot be reached. Check your connection.");
}

async function problem(response: Response): Promise<Problem> {
  const body = (await response.json().catch(() => ({}))) as Partial<ProblemBody>;
  const says = body.detail ?? body.title ?? `The service answered ${response.status}.`;
  const after = Number(response.headers.get("Retry-After")) || undefined;
  return new Problem(response.status, body.code ?? "unknown", says, body.errors ?? [], after);
}
