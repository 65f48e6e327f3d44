// The form: pictures, a description or a mesh, and how the asset is to be made.
import * as api from "./api";
import { busy, find, message, say } from "./dom";
import * as faults from "./faults";
import * as files from "./files";
import { askIfRefused } from "./keys";
import * as mesh from "./mesh";
import * as pictures from "./pictures";

const form = find<HTMLFormElement>("generate");
const prompt = find<HTMLTextAreaElement>("prompt");
const samples = find<HTMLInputElement>("samples");
const seed = find<HTMLInputElement>("seed");
const sending = find("sending");
const submit = form.querySelector<HTMLButtonElement>("button[type=submit]")!;

type Input = "image" | "text" | "variant";

/** What the description says, and what the workers would take. */
const WORDS: Record<Input, { prompt: string; example: string; taken: string }> = {
  image: { prompt: "", example: "", taken: "pictures" },
  text: { prompt: "Description", example: "a wooden chest with iron bands", taken: "descriptions" },
  variant: { prompt: "Its new surface", example: "rusty iron with flaking blue paint", taken: "meshes" },
};

let takes: Record<Input, boolean> = { image: true, text: true, variant: true };
/** Names the request until it is accepted: sent twice, after a broken connection, it makes one job. */
let once: { said: string; name: string } | undefined;

/** Calls `made` with each job that was accepted. */
export function start(made: (job: api.JobResponse) => void): void {
  form.addEventListener("change", showInput);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void busy(submit, () => send(made));
  });
  pictures.start();
  mesh.start();
  files.start((given) => {
    if (given.some(mesh.fits)) choose("variant");
    else if (given.some(pictures.fits) || input() === "text") choose("image");
    if (input() === "variant") mesh.take(given);
    else pictures.take(given);
  });
}

/** Has this mesh chosen, and asks for its new surface. */
export function vary(file: File): void {
  choose("variant");
  mesh.take([file]);
  prompt.focus();
}

/** Says what this installation does not take. */
export function available(health: api.Health): void {
  takes = { image: health.image_to_3d, text: health.text_to_3d, variant: health.variant };
  const other = (["text", "variant"] as const).find((kind) => takes[kind]);
  // Not what people have chosen themselves.
  if (input() === "image" && !takes.image && other && !pictures.pictures().length) choose(other);
  showInput();
}

function input(): Input {
  return checked("input")[0] as Input;
}

function choose(kind: Input): void {
  form.querySelector<HTMLInputElement>(`[name=input][value=${kind}]`)!.checked = true;
  showInput();
}

function showInput(): void {
  const kind = input();
  const words = WORDS[kind];
  find("image-part").hidden = kind !== "image";
  find("mesh-part").hidden = kind !== "variant";
  find("text-part").hidden = kind === "image";
  say(find("prompt-label"), words.prompt);
  say(find("prompt-example"), words.example);
  const unavailable = find("unavailable");
  unavailable.hidden = takes[kind];
  say(unavailable, takes[kind] ? "" : `The shared workers take no ${words.taken} now.`);
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
  const kind = input();
  if (kind === "image" && !pictures.pictures().length) return ["image", "Choose a picture first."];
  if (kind === "variant" && !mesh.mesh()) return ["mesh", "Choose a mesh first."];
  if (kind !== "image" && !prompt.value.trim()) return ["prompt", `Describe the ${kind === "text" ? "object" : "surface"} first.`];
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
  const kind = input();
  if (kind === "image") return sendFiles("image-to-3d", "image", pictures.pictures(), options());
  const described = { prompt: prompt.value.trim(), ...options() };
  if (kind === "text") return api.fromText(described, name(JSON.stringify(described)));
  return sendFiles("variant", "mesh", [mesh.mesh()!], described);
}

function sendFiles(kind: "image-to-3d" | "variant", field: string, given: readonly File[], fields: object): Promise<api.JobResponse> {
  const body = new FormData();
  for (const [field, value] of Object.entries(fields)) body.set(field, String(value));
  for (const file of given) body.append(field, file);
  const known = given.map(({ name, size, lastModified }) => [name, size, lastModified]);
  return api.fromFiles(kind, body, name(JSON.stringify([kind, known, fields])));
}

/** The same name for the same request, until it was accepted. `randomUUID` needs https, `getRandomValues` does not. */
function name(said: string): string {
  if (once?.said !== said) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    once = { said, name: [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("") };
  }
  return once.name;
}
