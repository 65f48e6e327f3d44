// A job's progress, asked for until it has ended.
import * as api from "./api";
import { find, make, message, say, time } from "./dom";
import { ended, STAGES, state } from "./words";

/** Milliseconds between questions: often while something happens on the screen, rarely where nobody looks. */
const OFTEN = 1500;
const RARELY = 10_000;

const bar = find<HTMLProgressElement>("job-bar");
const list = find<HTMLOListElement>("job-stages");

/** Asks how far the job is until it has ended or `signal` says to stop; `changed` hears of every answer. */
export async function follow(
  id: string,
  signal: AbortSignal,
  changed: (status: api.JobStatus) => void,
): Promise<api.JobStatus | undefined> {
  while (!signal.aborted) {
    let wait = document.hidden ? RARELY : OFTEN;
    try {
      const status = await api.status(id);
      if (signal.aborted) return undefined;
      say(find("job-error"), "");
      changed(status);
      if (ended(status)) return status;
    } catch (error) {
      if (signal.aborted) return undefined;
      if (!passing(error)) throw error;
      say(find("job-error"), message(error));
      wait = (error.retryAfter ?? 5) * 1000;
    }
    await pause(wait, signal);
  }
  return undefined;
}

/** Shows how far the job is. */
export function show(status: api.JobStatus): void {
  say(find("job-state"), state(status));
  say(find("job-times"), times(status));
  const running = !ended(status);
  find("job-progress").hidden = !running;
  list.hidden = !running;
  say(find("job-percent"), status.progress ? `${status.progress.percent} %` : "");
  if (status.progress) bar.value = status.progress.percent;
  else bar.removeAttribute("value");
  const at = STAGES.findIndex(([name]) => name === status.progress?.stage);
  list.replaceChildren(...STAGES.filter(([name], place) => usual(name) || place === at).map(([name, words]) => {
    const place = STAGES.findIndex(([other]) => other === name);
    const item = make("li", { textContent: words, className: place < at ? "done" : "" });
    if (place === at) item.setAttribute("aria-current", "step");
    return item;
  }));
}

function times(status: api.JobStatus): string {
  const parts = [];
  if (status.created_at) parts.push(`Asked for ${time(status.created_at)}`);
  if (!ended(status) && status.estimated_completion_at) {
    parts.push(`done about ${time(status.estimated_completion_at)}`);
  }
  if (status.status === "completed" && status.started_at && status.completed_at) {
    const seconds = (Date.parse(status.completed_at) - Date.parse(status.started_at)) / 1000;
    parts.push(`made in ${seconds.toFixed(1)} s`);
  }
  if (status.failed_attempts) parts.push(`failed attempts: ${status.failed_attempts}`);
  return parts.join(" · ");
}

/** Gaussians and radiance fields are made for some formats only. */
function usual(name: string): boolean {
  return name !== "gaussians" && name !== "radiance_field";
}

/** Whether the next question may be answered: the service is away, or asks to wait. */
function passing(error: unknown): error is api.Problem {
  return error instanceof api.Problem && (error.status === 0 || error.status === 429 || error.status >= 500);
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(finish, milliseconds);
    function finish(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      document.removeEventListener("visibilitychange", seen);
      done();
    }
    function seen(): void {
      if (!document.hidden) finish();
    }
    signal.addEventListener("abort", finish);
    document.addEventListener("visibilitychange", seen);
  });
}
