// The dialog that asks for the API key.
import { key, Problem } from "./api";
import { find, say } from "./dom";

const dialog = find<HTMLDialogElement>("key-dialog");
const field = find<HTMLInputElement>("key");
const reason = find("key-reason");
const why = reason.textContent;

/** Calls `changed` when there is another key. */
export function start(changed: () => void): void {
  find("change-key").addEventListener("click", () => ask());
  find("key-cancel").addEventListener("click", () => dialog.close());
  find("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    key.set(field.value.trim());
    // First the dialog gives the focus back: what had it may be replaced.
    dialog.close();
    changed();
  });
}

/** Asks for a key, and says why where there is a reason. */
export function ask(because: string = why): void {
  say(reason, because);
  field.value = key.get();
  if (!dialog.open) dialog.showModal();
}

/** Asks for another key where `error` says that this one is none. */
export function askIfRefused(error: unknown): void {
  if (error instanceof Problem && error.status === 401) ask(error.message);
}
