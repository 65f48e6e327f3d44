// The one job that is shown: its progress, then its model and its files.
import * as api from "./api";
import { find, make, message, say, size } from "./dom";
import * as progress from "./progress";

const viewer = find("viewer");
const downloads = find<HTMLUListElement>("downloads");
const failed = find("job-error");

let shown = new AbortController();
let endView: (() => void) | undefined;

/** Shows the job, and follows it to its end; `changed` hears of each of its statuses. */
export async function show(id: string, changed: (status: api.JobStatus) => void): Promise<void> {
  const { signal } = clear();
  find("job-empty").hidden = true;
  find("job-body").hidden = false;
  say(find("job-title"), `Asset ${id}`);
  let last: string | undefined;
  try {
    const status = await progress.follow(id, signal, (now) => {
      progress.show(now);
      if (now.status !== last) changed(now);
      last = now.status;
    });
    if (status?.status === "completed") await result(id, signal);
    else if (status?.error) say(failed, status.error.message);
  } catch (error) {
    if (!signal.aborted) say(failed, message(error));
  }
}

/** Shows no job any more, if it is this one that is shown. */
export function forget(id: string): void {
  if (find("job-title").textContent !== `Asset ${id}`) return;
  clear();
  say(find("job-title"), "Asset");
  find("job-empty").hidden = false;
  find("job-body").hidden = true;
}

function clear(): AbortController {
  shown.abort();
  shown = new AbortController();
  endView?.();
  endView = undefined;
  viewer.hidden = true;
  find("viewer-hint").hidden = true;
  downloads.replaceChildren();
  for (const id of ["job-state", "job-times", "job-error"]) say(find(id), "");
  return shown;
}

async function result(id: string, signal: AbortSignal): Promise<void> {
  const job = await api.job(id);
  if (signal.aborted) return;
  downloads.replaceChildren(...job.outputs.map((output) => make("li", {}, download(job, output))));
  if (!job.outputs.some(({ format }) => format === "glb")) return;
  const [{ show }, glb] = await Promise.all([import("./viewer"), api.file(id, "glb")]);
  const bytes = await glb.arrayBuffer();
  if (signal.aborted) return;
  viewer.hidden = false;
  try {
    const end = await show(viewer, bytes);
    if (signal.aborted) return end();
    endView = end;
    find("viewer-hint").hidden = false;
  } catch (error) {
    viewer.hidden = true;
    say(failed, `The model cannot be shown here, but it can be downloaded: ${message(error)}`);
  }
}

/** A link could not send the key, so a button fetches the file and saves it. */
function download(job: api.Job, { format, bytes }: api.Job["outputs"][number]): HTMLButtonElement {
  const button = make("button", { type: "button", textContent: `${label(format)} (${size(bytes)})` });
  button.addEventListener("click", () => {
    button.disabled = true;
    save(job.id, format)
      .catch((error) => say(failed, message(error)))
      .finally(() => (button.disabled = false));
  });
  return button;
}

async function save(id: string, format: string): Promise<void> {
  const url = URL.createObjectURL(await api.file(id, format));
  const link = make("a", { href: url, download: `${id}.${EXTENSIONS[format] ?? format}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Where a file's extension is not the format's name. */
const EXTENSIONS: Record<string, string> = { obj: "zip", preview: "png", manifest: "json" };

function label(format: string): string {
  return format === "preview" || format === "manifest" ? format : format.toUpperCase();
}
