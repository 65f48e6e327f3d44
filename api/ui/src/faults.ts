// What is wrong with the form: beside the field that it is about, or below all of them.
import type { Problem } from "./api";
import { find, say } from "./dom";

const form = find<HTMLFormElement>("generate");
const general = find("form-error");
const places = [...form.querySelectorAll<HTMLElement>(".error[data-fields]")];

/** Says what the service refused, where it belongs, and leads there. */
export function showProblem(problem: Problem): void {
  const rest = new Set<string>();
  for (const { pointer, detail } of problem.errors) {
    const place = placeOf(pointer);
    if (place) tell(place, detail);
    else rest.add(detail === problem.message || !pointer ? detail : `${pointer.slice(1).replaceAll("/", ", ")}: ${detail}`);
  }
  if (!problem.errors.length) rest.add(problem.message);
  say(general, [...rest].join("\n"));
  lead();
}

/** Says what is wrong with the field of this name, and leads there. */
export function showFault(field: string, text: string): void {
  const place = placeOf(`/${field}`);
  if (place) tell(place, text);
  lead();
}

export function clear(): void {
  say(general, "");
  for (const place of places) tell(place, "");
}

function placeOf(pointer: string): HTMLElement | undefined {
  const field = pointer.split("/")[1] ?? "";
  return places.find((place) => place.dataset["fields"]!.split(" ").includes(field));
}

/** Says at `place` what is wrong with its field; nothing where nothing is any more. */
export function tell(place: HTMLElement, text: string): void {
  say(place, text);
  const control = controlOf(place);
  if (text) control.setAttribute("aria-invalid", "true");
  else control.removeAttribute("aria-invalid");
  // A fault in closed options would be out of sight.
  if (text) control.closest("details")?.setAttribute("open", "");
}

function controlOf(place: HTMLElement): HTMLElement {
  return form.querySelector<HTMLElement>(`[aria-describedby~="${place.id}"]`)!;
}

function lead(): void {
  const first = places.find((place) => place.textContent);
  if (!first) return;
  const control = controlOf(first);
  (control.matches("fieldset") ? control.querySelector<HTMLElement>("input")! : control).focus();
}
