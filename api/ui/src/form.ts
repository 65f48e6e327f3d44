// The form: a picture or a description, and how the asset is to be made.
import * as api from "./api";
import { find, message, say } from "./dom";

const form = find<HTMLFormElement>("generate");
const image = find<HTMLInputElement>("image");
const picture = find<HTMLImageElement>("picture");
const drop = find("drop");
const prompt = find<HTMLTextAreaElement>("prompt");
const seed = find<HTMLInputElement>("seed");
const error = find("form-error");
const submit = form.querySelector<HTMLButtonElement>("button[type=submit]")!;

let chosen: File | undefined;
let takes = { image: true, text: true };
/** Names the request until it is accepted: sent twice, after a broken connection, it makes one job. */
let once: { said: string; name: string } | undefined;

/** Calls `made` with each job that was accepted. */
export function start(made: (job: api.JobResponse) => void): void {
  form.addEventListener("change", () => showInput());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send(made);
  });
  image.addEventListener("change", () => choose(image.files?.[0]));
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) choose(file);
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    choose(event.dataTransfer?.files[0]);
  });
}

/** Says what this installation does not take. */
export function available(health: api.Health): void {
  takes = { image: health.image_to_3d, text: health.text_to_3d };
  if (!takes.image && takes.text) form.querySelector<HTMLInputElement>("[name=input][value=text]")!.checked = true;
  showInput();
}

function input(): "image" | "text" {
  return checked("input")[0] === "text" ? "text" : "image";
}

function showInput(): void {
  const kind = input();
  find("image-part").hidden = kind !== "image";
  find("text-part").hidden = kind !== "text";
  const unavailable = find("unavailable");
  unavailable.hidden = takes[kind];
  say(unavailable, takes[kind] ? "" : `The shared workers take no ${kind === "text" ? "descriptions" : "pictures"} now.`);
}

function choose(file: File | undefined): void {
  if (!file) return;
  if (!file.type.startsWith("image/")) return say(error, `${file.name} is no picture.`);
  say(error, "");
  form.querySelector<HTMLInputElement>("[name=input][value=image]")!.checked = true;
  showInput();
  chosen = file;
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(file);
  picture.alt = `The chosen picture: ${file.name}`;
  picture.hidden = false;
  find("drop-text").textContent = "Choose another";
}

function checked(name: string): string[] {
  return [...form.querySelectorAll<HTMLInputElement>(`[name=${name}]:checked`)].map((box) => box.value);
}

async function send(made: (job: api.JobResponse) => void): Promise<void> {
  const missing = fault();
  if (missing) {
    say(error, missing.text);
    return missing.at.focus();
  }
  say(error, "");
  submit.disabled = true;
  try {
    made(await request());
    once = undefined;
  } catch (cause) {
    say(error, message(cause));
  } finally {
    submit.disabled = false;
  }
}

function fault(): { at: HTMLElement; text: string } | undefined {
  if (input() === "image" && !chosen) return { at: image, text: "Choose a picture first." };
  if (input() === "text" && !prompt.value.trim()) return { at: prompt, text: "Describe the object first." };
  if (!checked("format").length) {
    return { at: form.querySelector<HTMLElement>("[name=format]")!, text: "Choose at least one file format." };
  }
  return undefined;
}

function request(): Promise<api.JobResponse> {
  const quality = checked("quality")[0] as api.Quality;
  const formats = checked("format") as api.Format[];
  if (input() === "text") {
    const text = { prompt: prompt.value.trim(), quality, output_formats: formats };
    const whole = seed.value ? { ...text, seed: Number(seed.value) } : text;
    return api.fromText(whole, name(JSON.stringify(whole)));
  }
  const body = new FormData();
  body.set("image", chosen!);
  body.set("quality", quality);
  body.set("output_formats", formats.join(","));
  if (seed.value) body.set("seed", seed.value);
  const { name: file, size, lastModified } = chosen!;
  return api.fromImage(body, name(JSON.stringify([file, size, lastModified, quality, formats, seed.value])));
}

/** The same name for the same request, until it was accepted. `randomUUID` needs https, `getRandomValues` does not. */
function name(said: string): string {
  if (once?.said !== said) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    once = { said, name: [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("") };
  }
  return once.name;
}
