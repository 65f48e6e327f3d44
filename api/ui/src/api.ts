// Requests to the service that serves this page. The types come from its OpenAPI document.
import type { components } from "./schema";

type Schemas = components["schemas"];
export type Job = Schemas["Job"];
export type JobStatus = Schemas["JobStatus"];
export type JobList = Schemas["JobList"];
export type JobResponse = Schemas["JobResponse"];
export type Health = Schemas["ServiceHealth"];
export type Quality = Schemas["Quality"];
export type Format = Schemas["Format"];
type ProblemBody = Schemas["Problem"];
type Text = Schemas["TextTo3d"];

const KEY = "trellis-api-key";

/** A refusal, in the service's own words. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** Seconds after which a new attempt makes sense. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/** The key stays in this tab and goes into headers alone, never into addresses. */
export const key = {
  get: (): string => sessionStorage.getItem(KEY) ?? "",
  set: (value: string): void => sessionStorage.setItem(KEY, value),
};

export const health = (): Promise<Health> => json("/api/v1/health");
export const job = (id: string): Promise<Job> => json(path(id));
export const status = (id: string): Promise<JobStatus> => json(`${path(id)}/status`);

export function jobs(cursor?: string): Promise<JobList> {
  const query = new URLSearchParams({ limit: "12", ...(cursor ? { cursor } : {}) });
  return json(`/api/v1/jobs?${query}`);
}

export async function file(id: string, format: string): Promise<Blob> {
  return (await send(`${path(id)}/result?${new URLSearchParams({ format })}`)).blob();
}

export async function remove(id: string): Promise<void> {
  await send(path(id), { method: "DELETE" });
}

export function fromImage(form: FormData, once: string): Promise<JobResponse> {
  return json("/api/v1/generate/image-to-3d", { method: "POST", body: form, headers: { "Idempotency-Key": once } });
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
    throw new Problem(0, "unreachable", "The service cannot be reached. Check your connection.");
  }
  if (!response.ok) throw await problem(response);
  return response;
}

async function problem(response: Response): Promise<Problem> {
  const body = (await response.json().catch(() => ({}))) as Partial<ProblemBody>;
  const lines = [body.detail ?? body.title ?? `The service answered ${response.status}.`];
  for (const { pointer, detail } of body.errors ?? []) {
    if (detail !== body.detail) lines.push(`${pointer}: ${detail}`);
  }
  const after = Number(response.headers.get("Retry-After"));
  return new Problem(response.status, body.code ?? "unknown", lines.join("\n"), after || undefined);
}
