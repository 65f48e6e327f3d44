// Chromium, and what people do in it. Whatever a page loads from elsewhere, or complains about, is remembered.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { PAGE_URL, PAGE_KEY, PAGE_PHOTO, PAGE_PACKAGES, PAGE_CHROMIUM, TRELLIS_SCREENSHOTS } = process.env;
const require = createRequire(join(PAGE_PACKAGES, "/"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const url = PAGE_URL;
export const key = PAGE_KEY;
export const photo = readFileSync(PAGE_PHOTO);

/** A started browser; there is no GPU where tests run. */
export function launch() {
  return chromium.launch({ executablePath: PAGE_CHROMIUM, args: ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"] });
}

/** Opens the page for somebody who has entered the key; `refusals` are statuses that the browser may complain about. */
export async function open(browser, { refusals = [], path = "/", withKey = true, prepare = async () => {}, ...options } = {}) {
  const context = await browser.newContext({ reducedMotion: "reduce", viewport: { width: 1200, height: 900 }, ...options });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  const complaints = [];
  page.on("request", (request) => {
    const address = request.url();
    if (!address.startsWith(`${url}/`) && !/^(blob|data):/.test(address)) complaints.push(`a request to ${address}`);
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    const refusal = /status of (\d+)/.exec(message.text())?.[1];
    // Chromium itself speaks of refusals, and of what software draws.
    if (refusals.includes(Number(refusal)) || /GPU stall|GL Driver Message|fallback to software/.test(message.text())) return;
    if (refusals.includes("network") && /net::ERR/.test(message.text())) return;
    complaints.push(`${message.text()} (${message.location().url})`);
  });
  if (withKey) {
    await page.addInitScript((key) => sessionStorage.setItem("trellis-api-key", key), key);
  }
  await prepare(page);
  await page.goto(url + path);
  return {
    page,
    complaints,
    /** Ends the visit; there must have been nothing to complain about. */
    async end() {
      assert.deepEqual(complaints, []);
      await context.close();
    },
  };
}

/** Plays a test in a page of its own, and tells what was to be seen where it fails. */
export async function visit(browser, options, play) {
  const opened = await open(browser, options);
  try {
    await play(opened.page);
    await opened.end();
  } catch (error) {
    console.error(await opened.page.locator("body").innerText().catch(() => ""), opened.complaints);
    await screenshot(opened.page, `failed-${Date.now()}`);
    throw error;
  }
}

/** What the service answers to the user of the page. */
export async function ask(method, path, body) {
  const response = await fetch(url + path, {
    method,
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  return response.status === 204 ? undefined : response.json();
}

/** A job made from words, by another client. */
export async function submit(request = {}) {
  const { id } = await ask("POST", "/api/v1/generate/text-to-3d", { prompt: "a cup of coffee", ...request });
  assert.ok(id);
  return id;
}

/** Waits until the job is in this state. */
export async function reached(id, wanted) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const { status } = await ask("GET", `/api/v1/jobs/${id}/status`);
    if (status === wanted) return;
    assert.ok(Date.now() < deadline, `${id} is ${status} instead of ${wanted}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** Deletes all jobs, so that each test begins with none. */
export async function clear() {
  for (;;) {
    const { jobs } = await ask("GET", "/api/v1/jobs?limit=100");
    if (!jobs.length) return;
    await Promise.all(jobs.map(({ id }) => ask("DELETE", `/api/v1/jobs/${id}`)));
  }
}

/** Drops (or pastes) files onto the page, as a person does. */
export async function give(page, event, ...files) {
  const list = files.map(({ name = "photo.png", type = "image/png", bytes = photo }) => ({ name, type, bytes: bytes.toString("base64") }));
  await page.evaluate(([event, files]) => {
    const transfer = new DataTransfer();
    for (const { name, type, bytes } of files) {
      const content = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
      transfer.items.add(new File([content], name, { type }));
    }
    const target = document.querySelector(".drop");
    const options = { bubbles: true, cancelable: true };
    target.dispatchEvent(
      event === "paste"
        ? new ClipboardEvent(event, { ...options, clipboardData: transfer })
        : new DragEvent(event, { ...options, dataTransfer: transfer }),
    );
  }, [event, list]);
}

/** Waits until the job that is shown says so. */
export async function says(page, words, selector = "#job-state") {
  await page.locator(selector, { hasText: words }).filter({ visible: true }).first().waitFor();
}

/** How many colours a picture of the element shows, and the picture. */
async function look(page, selector) {
  const png = await page.locator(selector).screenshot();
  const colours = await page.evaluate(async (data) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const picture = await createImageBitmap(new Blob([bytes]));
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    const { data: pixels } = context.getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(pixels.buffer)).size;
  }, png.toString("base64"));
  return { png, colours };
}

/** The picture of the model, once it is drawn and differs from `before`. */
export async function drawn(page, before) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const { png, colours } = await look(page, "#viewer canvas");
    if (colours > 500 && !(before && png.equals(before))) return png;
    assert.ok(Date.now() < deadline, before ? "the model does not turn" : `the model shows ${colours} colours`);
  }
}

/** Finds nothing that keeps people out, in light and in dark, and nothing wider than the window. `except` are rules of axe. */
export async function accessible(page, name, except = []) {
  await page.evaluate(axe);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    // Only colours differ.
    const only = colorScheme === "dark" ? { runOnly: ["color-contrast"] } : {};
    const { violations } = await page.evaluate((only) => globalThis.axe.run(document, { resultTypes: ["violations"], ...only }), only);
    const grave = violations.filter(({ id, impact }) => ["serious", "critical"].includes(impact) && !except.includes(id));
    const told = grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("\n")}`);
    assert.deepEqual(told, [], `${name}, ${colorScheme}`);
    await screenshot(page, `${name}-${colorScheme}`);
  }
  const [needed, there] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(needed <= there, `${name}: ${needed} pixels wide in a window of ${there}`);
}

/** Keeps a picture where pictures are wanted. */
export async function screenshot(page, name, options = { fullPage: true }) {
  if (TRELLIS_SCREENSHOTS) await page.screenshot({ path: join(TRELLIS_SCREENSHOTS, `${name}.png`), ...options });
}
