// Small helpers around the document.

/** The element with this id, which index.html has. */
export function find<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element as T;
}

export function make<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** Sets text only where it changes: a live region would be read out again otherwise. */
export function say(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Changes the page; whoever had the focus on what is gone then goes on at `place`. */
export function keepFocus(place: HTMLElement, change: () => void): void {
  const before = document.activeElement;
  change();
  const now = document.activeElement;
  const moved = now !== before && now !== document.body;
  if (!moved && before && !before.checkVisibility()) place.focus();
}

/** When something was or will be, in the reader's own way. */
export function time(text: string): string {
  return new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export function size(bytes: number): string {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** While `work` runs the button cannot be pressed, and keeps the focus that it had. */
export async function busy(button: HTMLButtonElement, work: () => Promise<void>): Promise<void> {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await work();
  } finally {
    button.removeAttribute("aria-disabled");
  }
}
