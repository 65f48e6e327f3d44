// The pictures that an asset is to be made from: chosen, dropped or pasted.
import { find, make, say } from "./dom";

/** As many views of one object as the service takes. */
const MOST = 8;
const TYPES = ["image/png", "image/jpeg", "image/webp"];

const field = find<HTMLInputElement>("image");
const list = find<HTMLUListElement>("pictures");
const drop = find("drop");
const error = find("image-error");

const chosen: File[] = [];

/** Calls `changed` whenever there are other pictures. */
export function start(changed: () => void): void {
  const take = (files: Iterable<File>) => {
    add([...files]);
    changed();
  };
  field.addEventListener("change", () => {
    take(field.files ?? []);
    // The same file may be chosen again after it was removed.
    field.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files;
    if (files?.length) take(files);
  });
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    const files = event.dataTransfer?.files;
    if (!files?.length) return;
    event.preventDefault();
    take(files);
  });
}

/** The pictures, in the order in which they came. */
export function pictures(): readonly File[] {
  return chosen;
}

function add(files: File[]): void {
  const wrong = files.find((file) => !TYPES.includes(file.type));
  const fitting = files.filter((file) => TYPES.includes(file.type));
  const places = MOST - chosen.length;
  chosen.push(...fitting.slice(0, places));
  if (wrong) say(error, `${wrong.name} is no PNG, JPEG or WebP picture.`);
  else say(error, fitting.length > places ? `An asset is made from at most ${MOST} pictures.` : "");
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
    say(error, "");
    show();
    (list.querySelectorAll("button")[Math.min(place, chosen.length - 1)] ?? field).focus();
  });
  return make("li", {}, picture, remove);
}
