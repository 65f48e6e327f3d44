// What a job made: its model to turn, and its files to keep.
import * as api from "./api";
import { busy, find, make, message, say, size } from "./dom";
import { askIfRefused } from "./keys";

const viewer = find("viewer");
const state = find("viewer-state");
const help = find("viewer-help");
const versions = find("versions");
const downloads = find<HTMLUListElement>("downloads");
const failed = find("job-error");
const vary = find<HTMLButtonElement>("vary");

let endView: (() => void) | undefined;
/** The model that is shown, and whether the workers give meshes another surface, as far as is known. */
let shown: api.Output | undefined;
let varies = true;
/** Only the model that was asked for last is shown. */
let turned = 0;

/** Calls `chosen` with a model that is to have another surface. */
export function start(chosen: (model: File) => void): void {
  vary.addEventListener("click", () => {
    const model = shown;
    if (model) void busy(vary, () => told(async () => {
      const file = await api.file(model.url);
      // People may have gone on to another asset meanwhile.
      if (shown === model) chosen(file);
    }));
  });
}

/** Offers another surface only where there are workers for it. */
export function available(health: api.Health): void {
  varies = health.variant;
  offerVariant();
}

function offerVariant(): void {
  vary.hidden = !varies || !shown;
}

/** Shows the model, and offers all files. */
export async function show(job: api.Job, signal: AbortSignal): Promise<void> {
  const files = job.outputs.filter(({ format }) => format !== "manifest");
  const buttons = files.map((file) => download(`${label(file, files)} (${size(file.bytes)})`, file.url));
  const all = download("All files (ZIP)", api.result(job.id, "zip"));
  downloads.replaceChildren(...[...buttons, all].map((button) => make("li", {}, button)));
  const models = files.filter(({ format }) => format === "glb");
  offerVersions(models, signal);
  const [first] = models;
  if (first) await turn(first, job, signal);
}

export function clear(): void {
  endView?.();
  endView = undefined;
  viewer.replaceChildren();
  viewer.hidden = help.hidden = versions.hidden = true;
  say(state, "");
  downloads.replaceChildren();
  shown = undefined;
  offerVariant();
}

/** A job may have made several models; one is shown. */
function offerVersions(models: api.Output[], signal: AbortSignal): void {
  versions.hidden = models.length < 2;
  const choices = models.map((model, place) => {
    const choice = make("input", { type: "radio", name: "version", checked: place === 0 });
    choice.addEventListener("change", () => void turn(model, undefined, signal));
    return make("label", {}, choice, ` ${place + 1}`);
  });
  versions.replaceChildren(make("legend", { textContent: "Version" }), ...choices);
}

/** Shows a model, and until it has come its picture. */
async function turn(model: api.Output, job: api.Job | undefined, signal: AbortSignal): Promise<void> {
  endView?.();
  endView = undefined;
  shown = model;
  offerVariant();
  viewer.hidden = false;
  const number = ++turned;
  const stale = () => signal.aborted || number !== turned;
  const loading = (bytes: number) => {
    if (!stale()) say(state, `Loading the model: ${Math.floor((bytes / model.bytes) * 10) * 10} % of ${size(model.bytes)}`);
  };
  loading(0);
  if (job) void picture(job, signal);
  try {
    const [view, file] = await Promise.all([import("./viewer"), api.file(model.url, loading)]);
    const bytes = await file.arrayBuffer();
    if (stale()) return;
    const end = await view.show(viewer, bytes, find<HTMLButtonElement>("turning"));
    if (stale()) return end();
    endView = end;
    help.hidden = false;
    say(state, "");
  } catch (error) {
    if (stale()) return;
    askIfRefused(error);
    viewer.hidden = !viewer.childElementCount;
    say(state, `The model cannot be shown here, but it can be downloaded: ${message(error)}`);
  }
}

async function picture(job: api.Job, signal: AbortSignal): Promise<void> {
  const preview = job.outputs.find(({ format }) => format === "preview");
  const file = preview && (await api.file(preview.url).catch(() => undefined));
  if (!file || signal.aborted || viewer.childElementCount) return;
  const shown = make("img", { src: URL.createObjectURL(file), alt: "Picture of the asset" });
  shown.addEventListener("load", () => URL.revokeObjectURL(shown.src));
  viewer.replaceChildren(shown);
}

/** A format, and which version of the asset has it where there are several. */
function label(file: api.Output, files: api.Output[]): string {
  const name = file.format === "preview" ? "Picture" : file.format.toUpperCase();
  const versions = files.filter(({ format }) => format === file.format);
  return versions.length > 1 ? `${name} ${versions.indexOf(file) + 1}` : name;
}

/** A link could not send the key, so a button fetches the file and saves it. */
function download(label: string, url: string): HTMLButtonElement {
  const button = make("button", { type: "button", textContent: label });
  button.addEventListener("click", () => void busy(button, async () => {
    await told(async () => save(await api.file(url, (read) => say(button, `${label}, ${size(read)}`))));
    say(button, label);
  }));
  return button;
}

/** Fetches a file, and says where that fails, if the same asset is still shown. */
async function told(fetch: () => Promise<void>): Promise<void> {
  const before = shown;
  say(failed, "");
  try {
    await fetch();
  } catch (error) {
    askIfRefused(error);
    if (shown === before) say(failed, message(error));
  }
}

function save(file: File): void {
  const url = URL.createObjectURL(file);
  make("a", { href: url, download: file.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
