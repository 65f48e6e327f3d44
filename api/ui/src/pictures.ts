// The pictures that an asset is to be made from: chosen, dropped or pasted.
import { find, make, say } from "./dom";
import { tell } from "./faults";
import { chosen as chosenBy } from "./files";

/** As many views of one object as the service takes. */
const MOST = 8;
const TYPES = ["image/png", "image/jpeg", "image/webp"];

const field = find<HTMLInputElement>("image");
const list = find<HTMLUListElement>("pictures");
const error = find("image-error");

const chosen: File[] = [];

export function start(): void {
  chosenBy(field, take);
}

/** The pictures, in the order in which they came. */
export function pictures(): readonly File[] {
  return chosen;
}

export function fits({ type }: File): boolean {
  return TYPES.includes(type);
}

/** Adds the pictures among the files. */
export function take(files: File[]): void {
  const wrong = files.find((file) => !fits(file));
  const fitting = files.filter(fits);
  const places = MOST - chosen.length;
  chosen.push(...fitting.slice(0, places));
  if (wrong) tell(error, `${wrong.name} is no PNG, JPEG or WebP picture.`);
  else tell(error, fitting.length > places ? `An asset is made from at most ${MOST} pictures.` : "");
  show();
}

function show(): void {
  for (const picture of list.querySelectorAll("img")) URL.revokeObjectURL(picture.src);
  list.replaceChildren(...chosen.map(item));
  say(find("drop-text"), chosen.length ? "Add another view" : "Choose a picture");
}

function item(file: File, place: number): HTMLLIElement {
  const picture = make("img", { src: URL.createObjectURL(file), alt: file.name });
  const remove = make("button", { type: "button", textContent: "×", title: "Remove" });
  remove.setAttribute("aria-label", `Remove ${file.name}`);
  remove.addEventListener("click", () => {
    chosen.splice(place, 1);
    tell(error, "");
    show();
    (list.querySelectorAll("button")[Math.min(place, chosen.length - 1)] ?? field).focus();
  });
  return make("li", {}, picture, remove);
}
