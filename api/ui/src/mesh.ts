// The mesh that is to have another surface.
import { find, make, say, size } from "./dom";
import { tell } from "./faults";
import { chosen } from "./files";

/** Also OBJ zipped with its textures. Browsers know no types of meshes. */
const NAMES = /\.(glb|obj|ply|stl|zip)$/i;

const field = find<HTMLInputElement>("mesh");
const list = find<HTMLUListElement>("meshes");
const error = find("mesh-error");

let file: File | undefined;

export function start(): void {
  chosen(field, take);
}

export function mesh(): File | undefined {
  return file;
}

export function fits({ name }: File): boolean {
  return NAMES.test(name);
}

/** Takes the first mesh among the files in place of the one that was chosen before. */
export function take(files: File[]): void {
  const fitting = files.find(fits);
  const [first] = files;
  if (fitting) file = fitting;
  if (!fitting && first) tell(error, `${first.name} is no GLB, OBJ, PLY or STL mesh.`);
  else tell(error, files.length > 1 ? `Only ${file?.name} was taken. An OBJ file and its textures come in a ZIP file.` : "");
  show();
}

function show(): void {
  list.replaceChildren(...(file ? [item(file)] : []));
  say(find("mesh-text"), file ? "Choose another mesh" : "Choose a mesh");
}

function item({ name, size: bytes }: File): HTMLLIElement {
  const remove = make("button", { type: "button", textContent: "×", title: "Remove" });
  remove.setAttribute("aria-label", `Remove ${name}`);
  remove.addEventListener("click", () => {
    file = undefined;
    tell(error, "");
    show();
    field.focus();
  });
  return make("li", {}, make("span", {}, `${name} `, make("span", { className: "hint", textContent: size(bytes) })), remove);
}
