// Brings the parts of the page together.
import "./style.css";
import * as api from "./api";
import * as asset from "./asset";
import { find } from "./dom";
import * as form from "./form";
import * as jobs from "./jobs";
import * as keys from "./keys";

form.start(({ id }) => open(id));
jobs.start(open, asset.forget);
keys.start(() => void begin());

if (api.key.get()) void begin();
else keys.ask();

async function begin(): Promise<void> {
  await Promise.all([jobs.load(), api.health().then(form.available, () => {})]);
}

function open(id: string): void {
  void asset.show(id, jobs.update);
  const title = find("job-title");
  title.focus({ preventScroll: true });
  title.scrollIntoView({ block: "nearest" });
}
