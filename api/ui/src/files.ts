// Files that people give: chosen by a field, or dropped or pasted wherever on the page.

const targets = document.querySelectorAll(".drop");

/** Calls `take` with files whenever some are given. */
export function start(take: (files: File[]) => void): void {
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files;
    if (files?.length) take([...files]);
  });
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    mark(true);
  });
  for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => mark(false));
  document.addEventListener("drop", (event) => {
    const files = event.dataTransfer?.files;
    if (!files?.length) return;
    event.preventDefault();
    take([...files]);
  });
}

/** Hears of the files that are chosen by `field`. */
export function chosen(field: HTMLInputElement, take: (files: File[]) => void): void {
  field.addEventListener("change", () => {
    take([...(field.files ?? [])]);
    // The same file may be chosen again after it was removed.
    field.value = "";
  });
}

function mark(over: boolean): void {
  for (const target of targets) target.classList.toggle("over", over);
}
