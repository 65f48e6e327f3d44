// The list of the user's jobs, the newest first, with pictures of those that are done.
import * as api from "./api";
import { find, make, message, say, time } from "./dom";
import { ask } from "./keys";
import { ended, state } from "./words";

const list = find<HTMLUListElement>("jobs");
const more = find<HTMLButtonElement>("more");
const failed = find("past-error");
const dialog = find<HTMLDialogElement>("delete-dialog");

/** Milliseconds between looks at jobs that are not done. */
const REFRESH = 10_000;

let cursor: string | undefined;
/** What the rows show, by job. */
const listed = new Map<string, api.JobStatus>();
let opened: (id: string) => void = () => {};
let deleted: (id: string) => void = () => {};

/** Calls `open` with the job that is chosen, and `gone` with one that was deleted. */
export function start(open: (id: string) => void, gone: (id: string) => void): void {
  opened = open;
  deleted = gone;
  more.addEventListener("click", () => void load(cursor));
  setInterval(() => void refresh(), REFRESH);
}

/** Looks at the newest jobs again while some that are listed are not done. A look that fails is followed by another. */
async function refresh(): Promise<void> {
  if (document.hidden || ![...listed.values()].some((status) => !ended(status))) return;
  const page = await api.jobs().catch(() => undefined);
  page?.jobs.filter((status) => listed.has(status.id)).forEach(update);
}

/** Shows the first page, or the one that `after` leads to below what is shown. */
export async function load(after?: string): Promise<void> {
  say(failed, "");
  more.disabled = true;
  try {
    const page = await api.jobs(after);
    if (!after) {
      list.replaceChildren();
      listed.clear();
    }
    list.append(...page.jobs.map(row));
    cursor = page.next_cursor ?? undefined;
    more.hidden = !cursor;
    showEmpty();
  } catch (error) {
    if (error instanceof api.Problem && error.status === 401) return ask(error.message);
    say(failed, message(error));
  } finally {
    more.disabled = false;
  }
}

/** Brings the row of one job up to date; one that is not listed yet comes first. */
export function update(status: api.JobStatus): void {
  const old = document.getElementById(rowId(status.id));
  const before = listed.get(status.id);
  // A row that stays as it is keeps its picture and the focus.
  if (before && words(before) === words(status)) return;
  if (!old) list.prepend(row(status));
  else if (!old.contains(document.activeElement)) old.replaceWith(row(status));
  else {
    const focused = [...old.querySelectorAll("button")].indexOf(document.activeElement as HTMLButtonElement);
    const fresh = row(status);
    old.replaceWith(fresh);
    fresh.querySelectorAll("button")[focused]?.focus();
  }
  showEmpty();
}

function row(status: api.JobStatus): HTMLLIElement {
  listed.set(status.id, status);
  const picture = make("span", { className: "thumbnail" });
  if (status.status === "completed") void thumbnail(status.id, picture);
  const text = make("span", {}, make("strong", { textContent: words(status) }));
  if (status.created_at) text.append(make("span", { className: "hint", textContent: time(status.created_at) }));
  const open = make("button", { type: "button", className: "open" }, picture, text);
  open.addEventListener("click", () => opened(status.id));
  const remove = make("button", { type: "button", className: "remove", textContent: "Delete" });
  remove.setAttribute("aria-label", `Delete the asset of ${status.created_at ? time(status.created_at) : status.id}`);
  remove.addEventListener("click", () => void confirm(status, remove));
  return make("li", { id: rowId(status.id) }, open, remove);
}

function words(status: api.JobStatus): string {
  return status.status === "processing" ? "Being made" : state(status);
}

/** Pictures need the key as much as all else does, so that an address alone would not do. */
async function thumbnail(id: string, place: HTMLElement): Promise<void> {
  try {
    const url = URL.createObjectURL(await api.file(id, "preview"));
    const picture = make("img", { src: url, alt: "" });
    picture.addEventListener("load", () => URL.revokeObjectURL(url));
    place.replaceChildren(picture);
  } catch {
    // A job may have been asked for no preview, and an old one may have been cleaned away.
  }
}

async function confirm(status: api.JobStatus, from: HTMLElement): Promise<void> {
  say(
    find("delete-text"),
    !ended(status)
      ? "It is still being made. Deleting ends that."
      : "It leaves this list. Its files stay in the storage for as long as that keeps them.",
  );
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  if (dialog.returnValue !== "delete") return from.focus();
  try {
    await api.remove(status.id);
    document.getElementById(rowId(status.id))?.remove();
    listed.delete(status.id);
    deleted(status.id);
    showEmpty();
    find("past-title").focus();
  } catch (error) {
    say(failed, message(error));
  }
}


function showEmpty(): void {
  find("past-empty").hidden = list.childElementCount > 0;
}

function rowId(id: string): string {
  return `row-${id}`;
}
