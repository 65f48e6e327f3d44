// The list of the user's jobs, the newest first.
import * as actions from "./actions";
import * as api from "./api";
import { busy, find, keepFocus, message, say } from "./dom";
import { askIfRefused } from "./keys";
import { Row } from "./row";
import { ended } from "./words";

const list = find<HTMLUListElement>("jobs");
const more = find<HTMLButtonElement>("more");
const again = find<HTMLButtonElement>("past-again");
const failed = find("past-error");
const state = find("past-state");
const filter = find<HTMLFormElement>("filter");
const title = find("past-title");

/** How many jobs are asked for at a time. */
const PAGE = 12;

/** Milliseconds between looks at the list while some jobs of it are not done. */
const REFRESH = 10_000;

/** Milliseconds after which a list that was behind is asked for again, and how often that is done for one job. */
const SOON = 1000;
const PATIENCE = 10;

/** The rows in the list, by job. */
const rows = new Map<string, Row>();
/** Jobs that were deleted, and how many lists may still have them: another replica of the service may be behind. */
const gone = new Map<string, number>();
let soon: number | undefined;
let cursor: string | undefined;
/** The job that is shown, as it was heard of last. */
let shown: { id: string; status: api.Status } | undefined;
/** Only the answer to the last question counts: an older one may be about another filter. */
let asked = 0;
/** Whether an answer is awaited, and whether there has been reason meanwhile to bring the list up to date. */
let awaits = false;
let missed = false;

let opened: (id: string) => void = () => {};
let deleted: (id: string) => void = () => {};

/** Calls `open` with the job that is chosen, and `remove` with one that was deleted. */
export function start(open: (id: string) => void, remove: (id: string) => void): void {
  opened = open;
  deleted = remove;
  filter.addEventListener("change", () => void load());
  filter.addEventListener("submit", (event) => event.preventDefault());
  again.addEventListener("click", () => void busy(again, load));
  more.addEventListener("click", () => void busy(more, next));
  setInterval(() => {
    if (!document.hidden && [...rows.values()].some(({ status }) => !ended(status))) void refresh();
  }, REFRESH);
}

/** Shows the first page of those that the filter lets through. */
export async function load(): Promise<void> {
  await ask(undefined, (page) => {
    list.replaceChildren();
    rows.clear();
    list.append(...page.jobs.map((status) => row(status).item));
    cursor = page.next_cursor ?? undefined;
  });
}

async function next(): Promise<void> {
  await ask(cursor, (page) => {
    const added = page.jobs.filter(({ id }) => !rows.has(id)).map(row);
    list.append(...added.map(({ item }) => item));
    cursor = page.next_cursor ?? undefined;
    added[0]?.open.focus();
  });
}

/** Brings the first page up to date, once what is asked for now has come. A look that fails is followed by another. */
async function refresh(): Promise<void> {
  if (awaits) {
    missed = true;
    return;
  }
  await question((status) => api.jobs(status, PAGE), merge).catch(() => {});
}

/** Takes away before it puts in: a row that would have to move on its way would lose the focus. */
function merge(page: api.JobList): void {
  drop(page);
  page.jobs.forEach((status, place) => {
    const known = rows.get(status.id);
    known?.show(status);
    const { item } = known ?? row(status);
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
  });
  if (rows.size <= PAGE) cursor = page.next_cursor ?? undefined;
}

/** Takes away what would have been among the jobs of the page, and is not: it was deleted, or the filter does not let it through any more. */
function drop(page: api.JobList): void {
  const first = new Set(page.jobs.map(({ id }) => id));
  const last = page.jobs.at(-1);
  for (const [id, { status }] of rows) {
    const covered = !page.next_cursor || (last?.created_at && status.created_at && status.created_at > last.created_at);
    if (covered && !first.has(id)) forget(id);
  }
}

/** Hears of a status of the job that is shown. */
export function update(status: api.JobStatus): void {
  if (shown && shown.id !== status.id) rows.get(shown.id)?.mark(false);
  const before = shown?.id === status.id ? shown.status : undefined;
  shown = { id: status.id, status: status.status };
  const known = rows.get(status.id);
  known?.mark(true);
  const listed = known?.status.status;
  known?.show(status);
  // Counts change, and the filter may let it through now, or no more.
  if (status.status !== (before ?? listed)) void refresh();
}

/** Takes a job out of the list. */
function forget(id: string): void {
  const item = rows.get(id)?.item;
  if (!item) return;
  rows.delete(id);
  keepFocus(title, () => item.remove());
}

/** Hears of a job that was deleted, so that there are fewer of its kind. */
export function removed(id: string): void {
  gone.set(id, PATIENCE);
  forget(id);
  void refresh();
}

/** Asks for a page on somebody's behalf: they are told where it fails. */
async function ask(after: string | undefined, show: (page: api.JobList) => void): Promise<void> {
  try {
    await question((status) => api.jobs(status, PAGE, after), show);
  } catch (error) {
    askIfRefused(error);
    say(failed, message(error));
    again.hidden = false;
  }
}

/** Asks for a page, and has it shown unless something else was asked for meanwhile. */
async function question(page: (status: string) => Promise<api.JobList>, show: (page: api.JobList) => void): Promise<void> {
  const number = ++asked;
  awaits = true;
  list.setAttribute("aria-busy", "true");
  try {
    const answer = await page(wanted());
    if (number !== asked) return;
    answer.jobs = answer.jobs.filter(({ id }) => !isGone(id));
    keepFocus(title, () => {
      show(answer);
      count(answer);
      tell();
      again.hidden = true;
    });
    say(failed, "");
  } catch (error) {
    if (number === asked) throw error;
  } finally {
    if (number === asked) {
      awaits = false;
      list.removeAttribute("aria-busy");
      if (missed) void refresh();
      missed = false;
    }
  }
}

/** Whether a job that a list has was deleted. Lists are asked for until they are without it; in the end it is taken for one that something keeps. */
function isGone(id: string): boolean {
  const left = gone.get(id);
  if (left === undefined) return false;
  if (left) gone.set(id, left - 1);
  else gone.delete(id);
  clearTimeout(soon);
  soon = setTimeout(() => void refresh(), SOON);
  return left > 0;
}

function row(status: api.JobStatus): Row {
  const made = new Row(status);
  rows.set(status.id, made);
  made.mark(status.id === shown?.id);
  made.open.addEventListener("click", () => opened(status.id));
  made.remove.addEventListener("click", () => void busy(made.remove, () => remove(made)));
  return made;
}

async function remove(row: Row): Promise<void> {
  try {
    if (await actions.confirmed(row.status)) deleted(row.status.id);
  } catch (error) {
    askIfRefused(error);
    say(failed, message(error));
  }
}

function wanted(): string {
  return new FormData(filter).get("status") as string;
}

/** Says beside each choice of the filter how many jobs it lets through. */
function count({ totals }: api.JobList): void {
  const all = Object.values(totals).reduce((sum, count) => sum + count, 0);
  for (const choice of filter.querySelectorAll<HTMLInputElement>("[name=status]")) {
    const words = choice.nextElementSibling as HTMLElement;
    words.dataset["words"] ??= words.textContent;
    say(words, `${words.dataset["words"]} ${choice.value ? totals[choice.value as api.Status] : all}`);
  }
}

function tell(): void {
  more.hidden = !cursor;
  say(state, rows.size ? "" : wanted() ? "None of them." : "None yet.");
}
