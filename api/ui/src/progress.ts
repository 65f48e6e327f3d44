// How far the shown job is.
import type { JobStatus } from "./api";
import { find, make, say, time } from "./dom";
import { ended, percent, STAGES, state } from "./words";

const bar = find<HTMLProgressElement>("job-bar");
const list = find<HTMLOListElement>("job-stages");

/** Shows how far the job is. */
export function show(status: JobStatus): void {
  const running = !ended(status);
  say(find("job-state"), state(status));
  find("job-state").dataset["status"] = status.status;
  say(find("job-times"), times(status));
  find("job-progress").hidden = !running;
  list.hidden = status.status !== "processing";
  say(find("job-percent"), status.progress ? percent(status.progress.percent) : "");
  if (status.progress) bar.value = status.progress.percent;
  else bar.removeAttribute("value");
  document.title = running && status.progress ? `${percent(status.progress.percent)} · TRELLIS` : TITLE;
  showStages(status.progress?.stage);
}

/** What the tab is called while nothing runs. */
export const TITLE = document.title;

function showStages(running: string | undefined): void {
  const at = STAGES.findIndex(([name]) => name === running);
  list.replaceChildren(...STAGES.filter(([name], place) => usual(name) || place === at).map(([name, words]) => {
    const place = STAGES.findIndex(([other]) => other === name);
    const item = make("li", { textContent: words, className: place < at ? "done" : "" });
    if (place < at) item.append(make("span", { className: "unseen", textContent: " (done)" }));
    if (place === at) item.setAttribute("aria-current", "step");
    return item;
  }));
}

function times(status: JobStatus): string {
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
  return [...parts, status.id].join(" · ");
}

/** Gaussians and radiance fields are made for some formats only. */
function usual(name: string): boolean {
  return name !== "gaussians" && name !== "radiance_field";
}
