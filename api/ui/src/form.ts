// The form: pictures or a description, and how the asset is to be made.
import * as api from "./api";
import { busy, find, message, say } from "./dom";
import * as faults from "./faults";
import { askIfRefused } from "./keys";
import { pictures, start as startPictures } from "./pictures";

const form = find<HTMLFormElement>("generate");
const prompt = find<HTMLTextAreaElement>("prompt");
const samples = find<HTMLInputElement>("samples");
const seed = find<HTMLInputElement>("seed");
const sending = find("sending");
const submit = form.querySelector<HTMLButtonElement>("button[type=submit]")!;

let takes = { image: true, text: true };
/** Names the request until it is accepted: sent twice, after a broken connection, it makes one job. */
let once: { said: string; name: string } | undefined;

/** Calls `made` with each job that was accepted. */
export function start(made: (job: api.JobResponse) => void): void {
  form.addEventListener("change", showInput);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void busy(submit, () => send(made));
  });
  startPictures(() => {
    choose("image");
    showInput();
  });
}

/** Says what this installation does not take. */
export function available(health: api.Health): void {
  takes = { image: health.image_to_3d, text: health.text_to_3d };
  if (!takes.image && takes.text && !pictures().length) choose("text");
  showInput();
}

function input(): "image" | "text" {
  return checked("input")[0] === "text" ? "text" : "image";
}

function choose(kind: "image" | "text"): void {
  form.querySelector<HTMLInputElement>(`[name=input][value=${kind}]`)!.checked = true;
}

function showInput(): void {
  const kind = input();
  find("image-part").hidden = kind !== "image";
  find("text-part").hidden = kind !== "text";
  const unavailable = find("unavailable");
  unavailable.hidden = takes[kind];
  say(unavailable, takes[kind] ? "" : `The shared workers take no ${kind === "text" ? "descriptions" : "pictures"} now.`);
}

function checked(name: string): string[] {
  return [...form.querySelectorAll<HTMLInputElement>(`[name=${name}]:checked`)].map((box) => box.value);
}

async function send(made: (job: api.JobResponse) => void): Promise<void> {
  faults.clear();
  const wrong = fault();
  if (wrong) return faults.showFault(...wrong);
  say(sending, "Sending …");
  try {
    made(await request());
    once = undefined;
  } catch (error) {
    askIfRefused(error);
    faults.showProblem(error instanceof api.Problem ? error : new api.Problem(0, "unknown", message(error)));
  } finally {
    say(sending, "");
  }
}

/** What the service need not be asked about: a field, and what to do. */
function fault(): [field: string, text: string] | undefined {
  if (input() === "image" && !pictures().length) return ["image", "Choose a picture first."];
  if (input() === "text" && !prompt.value.trim()) return ["prompt", "Describe the object first."];
  if (!checked("format").length) return ["output_formats", "Choose at least one kind of file."];
  if (!samples.validity.valid || !samples.value) return ["samples", "Write a whole number from 1 to 4."];
  if (!seed.validity.valid) return ["seed", "Write a whole number from 0 to 4294967295, or nothing."];
  return undefined;
}

/** How the asset is to be made. What is not chosen is left to the service. */
function options() {
  return {
    quality: checked("quality")[0] as api.Quality,
    output_formats: checked("format") as api.Format[],
    ...(samples.value === "1" ? {} : { samples: Number(samples.value) }),
    ...(seed.value ? { seed: Number(seed.value) } : {}),
  };
}

function request(): Promise<api.JobResponse> {
  const chosen = options();
  if (input() === "text") {
    const text = { prompt: prompt.value.trim(), ...chosen };
    return api.fromText(text, name(JSON.stringify(text)));
  }
  const body = new FormData();
  for (const [field, value] of Object.entries(chosen)) body.set(field, String(value));
  for (const picture of pictures()) body.append("image", picture);
  const files = pictures().map(({ name, size, lastModified }) => [name, size, lastModified]);
  return api.fromImages(body, name(JSON.stringify([files, chosen])));
}

/** The same name for the same request, until it was accepted. `randomUUID` needs https, `getRandomValues` does not. */
function name(said: string): string {
  if (once?.said !== said) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    once = { said, name: [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("") };
  }
  return once.name;
}
