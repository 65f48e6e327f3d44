// Brings the parts of the page together.
import "./style.css";
import * as api from "./api";
import * as asset from "./asset";
import { find } from "./dom";
import * as form from "./form";
import * as jobs from "./jobs";
import * as keys from "./keys";
import * as result from "./result";

form.start(({ id }) => {
  open(id);
  void see();
});
jobs.start(open, (id) => {
  asset.forget(id);
  jobs.removed(id);
});
asset.start(jobs.update, jobs.removed);
result.start(form.vary);
keys.start(() => void begin());

if (api.key.get()) void begin();
else keys.ask();

/** Asks for all that a key opens: at the start, and when there is another one. */
async function begin(): Promise<void> {
  const id = asset.current() ?? location.hash.slice(1);
  if (id) void asset.show(id);
  await Promise.all([jobs.load(), see()]);
}

/** What the workers take may have changed, and is not known while the service starts. */
async function see(): Promise<void> {
  const health = await api.health().catch(() => undefined);
  if (!health) return;
  form.available(health);
  result.available(health);
}

function open(id: string): void {
  void asset.show(id);
  const title = find("job-title");
  title.focus({ preventScroll: true });
  title.scrollIntoView({ block: "nearest" });
}
