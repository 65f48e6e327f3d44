// A job in the list, with the picture of what it made.
import * as api from "./api";
import { make, say, time } from "./dom";
import { brief } from "./words";

/** A row; it stays while its job changes, so that it keeps its picture and the focus. */
export class Row {
  readonly item: HTMLLIElement;
  readonly open: HTMLButtonElement;
  readonly remove: HTMLButtonElement;
  status!: api.JobStatus;
  private readonly words = make("strong");
  private readonly when = make("span", { className: "hint" });
  private readonly picture = make("span", { className: "thumbnail" });
  private fetched = false;

  constructor(status: api.JobStatus) {
    this.picture.setAttribute("aria-hidden", "true");
    this.open = make("button", { type: "button", className: "open" }, this.picture, make("span", {}, this.words, this.when));
    this.remove = make("button", { type: "button", className: "remove", textContent: "×", title: "Delete" });
    this.item = make("li", {}, this.open, this.remove);
    this.show(status);
  }

  show(status: api.JobStatus): void {
    this.status = status;
    const when = status.created_at ? time(status.created_at) : status.id;
    say(this.words, brief(status));
    say(this.when, when);
    this.remove.setAttribute("aria-label", `Delete the asset of ${when}`);
    this.picture.dataset["status"] = status.status;
    if (status.status === "completed") void this.fetch();
  }

  /** Says to all that it is the one that is shown. */
  mark(shown: boolean): void {
    if (shown) this.open.setAttribute("aria-current", "true");
    else this.open.removeAttribute("aria-current");
  }

  /** Pictures need the key as much as all else does, so that an address alone would not do. */
  private async fetch(): Promise<void> {
    if (this.fetched) return;
    this.fetched = true;
    try {
      const url = URL.createObjectURL(await api.file(api.result(this.status.id, "preview")));
      const picture = make("img", { src: url, alt: "" });
      picture.addEventListener("load", () => URL.revokeObjectURL(url));
      this.picture.replaceChildren(picture);
    } catch (error) {
      // A job may have been asked for no preview, and an old one may have been cleaned away.
      this.fetched = !(error instanceof api.Problem && error.passes);
    }
  }
}
