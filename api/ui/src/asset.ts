// The one job that is shown: its progress, then its model and its files, and what can be done with it.
import * as actions from "./actions";
import * as api from "./api";
import { find, keepFocus, message, say } from "./dom";
import { follow } from "./follow";
import { askIfRefused } from "./keys";
import * as progress from "./progress";
import * as result from "./result";

const failed = find("job-error");
const trouble = find("job-trouble");

let shown: { id: string; stop: AbortController } | undefined;
let heard: (status: api.JobStatus) => void = () => {};

/** Calls `changed` with each status of the job that is shown, and `gone` with one that was deleted. */
export function start(changed: (status: api.JobStatus) => void, gone: (id: string) => void): void {
  heard = changed;
  actions.start({
    changed: (id) => {
      if (id === shown?.id) void show(id);
    },
    deleted: (id) => {
      forget(id);
      gone(id);
    },
    failed: (error) => report(error),
  });
}

/** The job that is shown. */
export function current(): string | undefined {
  return shown?.id;
}

/** Shows the job, and follows it to its end. */
export async function show(id: string): Promise<void> {
  const { signal } = clear(id);
  find("job-empty").hidden = true;
  find("job-body").hidden = false;
  history.replaceState(null, "", `#${id}`);
  try {
    const status = await follow(id, signal, {
      changed: (status) => {
        say(trouble, "");
        progress.show(status);
        actions.show(status);
        heard(status);
      },
      trouble: (problem, seconds) => say(trouble, `${problem.message} It is asked again in ${seconds} s.`),
    });
    if (status?.error) say(failed, status.error.message);
    if (status?.status !== "completed") return;
    const job = await api.job(id);
    if (!signal.aborted) await result.show(job, signal);
  } catch (error) {
    if (!signal.aborted) report(error);
  }
}

/** Shows no job any more, if it is this one that is shown. */
export function forget(id: string): void {
  if (shown?.id !== id) return;
  clear();
  document.title = progress.TITLE;
  history.replaceState(null, "", location.pathname);
  keepFocus(find("job-title"), () => {
    find("job-empty").hidden = false;
    find("job-body").hidden = true;
  });
}

function clear(id?: string): AbortController {
  shown?.stop.abort();
  const stop = new AbortController();
  shown = id === undefined ? undefined : { id, stop };
  keepFocus(find("job-title"), result.clear);
  actions.clear();
  find("job-progress").hidden = true;
  find("job-stages").hidden = true;
  for (const text of ["job-state", "job-times", "job-trouble", "job-error"]) say(find(text), "");
  return stop;
}

function report(error: unknown): void {
  say(trouble, "");
  askIfRefused(error);
  say(failed, message(error));
}
