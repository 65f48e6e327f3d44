// What can be done with the job that is shown: end it, try it again, delete it.
import * as api from "./api";
import { busy, find, keepFocus, say } from "./dom";
import { ended } from "./words";

const cancel = find<HTMLButtonElement>("cancel");
const retry = find<HTMLButtonElement>("retry");
const remove = find<HTMLButtonElement>("delete");
const dialog = find<HTMLDialogElement>("delete-dialog");

/** Hears what became of it. */
export interface Listener {
  changed(id: string): void;
  deleted(id: string): void;
  failed(error: unknown): void;
}

let job: api.JobStatus | undefined;
/** Answers the question that is asked now. */
let answer: (yes: boolean) => void = () => {};

export function start(listener: Listener): void {
  const act = (button: HTMLButtonElement, action: (job: api.JobStatus) => Promise<void>) =>
    button.addEventListener("click", () => {
      const at = job;
      if (at) void busy(button, () => action(at)).catch(listener.failed);
    });
  act(cancel, async ({ id }) => {
    await api.cancel(id);
    listener.changed(id);
  });
  act(retry, async ({ id }) => {
    const { status } = await api.retry(id);
    if (status === "failed") throw new Error("It is going to be tried again, but that has not begun. Look again in a minute.");
    listener.changed(id);
  });
  act(remove, async (at) => {
    if (await confirmed(at)) listener.deleted(at.id);
  });
  dialog.addEventListener("submit", (event) => answer((event.submitter as HTMLButtonElement).value === "delete"));
  // Comes with the next frame: by then another question may be open.
  dialog.addEventListener("close", () => {
    if (!dialog.open) answer(false);
  });
}

/** Offers what can be done with a job in this state. */
export function show(status: api.JobStatus): void {
  job = status;
  offer([...(ended(status) ? [remove] : [cancel]), ...(status.status === "failed" ? [retry] : [])]);
}

export function clear(): void {
  job = undefined;
  offer([]);
}

function offer(buttons: HTMLButtonElement[]): void {
  keepFocus(find("job-title"), () => {
    for (const button of [cancel, retry, remove]) button.hidden = !buttons.includes(button);
  });
}

/** Asks whether to delete a job, and does so; whether it is gone. The dialog itself gives the focus back to what it had before. */
export async function confirmed(status: api.JobStatus): Promise<boolean> {
  say(
    find("delete-text"),
    ended(status) ? "Its files cannot be fetched any more." : "It is still being made. Deleting ends that.",
  );
  // A question that was closed may not have heard of it yet, and the answer to this one is not its own.
  answer(false);
  const answered = new Promise<boolean>((done) => (answer = done));
  dialog.showModal();
  if (!(await answered)) return false;
  await api.remove(status.id);
  return true;
}
