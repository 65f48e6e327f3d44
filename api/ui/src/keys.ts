// The dialog that asks for the API key.
import { key } from "./api";
import { find, say } from "./dom";

const dialog = find<HTMLDialogElement>("key-dialog");
const field = find<HTMLInputElement>("key");

/** Calls `changed` when there is another key. */
export function start(changed: () => void): void {
  find("change-key").addEventListener("click", () => ask());
  find("key-cancel").addEventListener("click", () => dialog.close());
  find("key-form").addEventListener("submit", () => {
    key.set(field.value.trim());
    changed();
  });
}

/** Asks for a key, and says why where there is a reason. */
export function ask(reason?: string): void {
  if (reason) say(find("key-reason"), reason);
  field.value = key.get();
  if (!dialog.open) dialog.showModal();
}
