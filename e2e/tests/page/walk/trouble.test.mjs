// What people are told when the service, or the way to it, does not work.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { ask, clear, give, launch, reached, says, screenshot, submit, visit } from "./browser.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());
beforeEach(clear);

const refusal = (status, code, detail, headers = {}) => ({
  status,
  headers: { "Content-Type": "application/problem+json", ...headers },
  body: JSON.stringify({ type: `urn:trellis3d:problem:${code}`, title: code, status, code, detail }),
});

/** Answers so the first `times` requests for what fits `pattern`, then leaves them to the service. */
async function refuse(page, pattern, answer, times = 1) {
  let left = times;
  await page.route(pattern, (route) => {
    left -= 1;
    if (left < 0) return route.fallback();
    return answer ? route.fulfill(answer) : route.abort();
  });
}

test("a list that cannot be fetched now is fetched on request", async () => {
  const away = refusal(503, "kubernetes_unavailable", "Kubernetes does not answer.", { "Retry-After": "1" });
  await visit(browser, { refusals: [503], prepare: (page) => refuse(page, /api\/v1\/jobs\?/, away) }, async (page) => {
    await says(page, "Kubernetes does not answer.", "#past-error");
    await screenshot(page, "trouble-list");
    await page.locator("#past-again").click();
    await says(page, "None yet.", "#past-state");
    assert.equal(await page.locator("#past-again").isVisible(), false);
    assert.equal(await page.evaluate(() => document.activeElement.id), "past-title");
  });
});

test("a refused request stays in the form, and is sent once although it is sent again", async () => {
  await visit(browser, { refusals: [429, "network"] }, async (page) => {
    await give(page, "drop", {});
    const full = refusal(429, "quota_exceeded", "You have 5 jobs in the queue, and may have 5.", { "Retry-After": "30" });
    await refuse(page, /generate/, full);
    await page.getByRole("button", { name: "Make it" }).click();
    await says(page, "You have 5 jobs in the queue", "#form-error");
    await screenshot(page, "trouble-quota");
    // The answer to the next one is lost on its way.
    const names = [];
    await page.route(/generate/, async (route) => {
      names.push(route.request().headers()["idempotency-key"]);
      const response = await route.fetch();
      return names.length === 1 ? route.abort() : route.fulfill({ response });
    });
    await page.getByRole("button", { name: "Make it" }).click();
    await says(page, "The service cannot be reached.", "#form-error");
    await page.getByRole("button", { name: "Make it" }).click();
    await says(page, "Done");
    assert.equal(new Set(names).size, 1);
    const { jobs } = await ask("GET", "/api/v1/jobs");
    assert.equal(jobs.length, 1);
  });
});

test("a job is followed although the service is away for a while, and tells no events", async () => {
  const id = await submit({ seed: 1 });
  await reached(id, "processing");
  const prepare = async (page) => {
    await page.route(/events$/, (route) => route.fulfill(refusal(404, "not_found", "There is nothing here.")));
    await refuse(page, /status$/, undefined);
  };
  await visit(browser, { path: `/#${id}`, refusals: [404, 503, "network"], prepare }, async (page) => {
    await says(page, /cannot be reached.*asked again in/, "#job-trouble");
    await screenshot(page, "trouble-follow");
    await says(page, "Fine shape and surface");
    assert.equal(await page.locator("#job-trouble").innerText(), "");
    await ask("DELETE", `/api/v1/jobs/${id}`);
    await says(page, /job/i, "#job-error");
  });
});

test("a key that is withdrawn meanwhile is asked for again", async () => {
  const id = await submit();
  await reached(id, "completed");
  const none = refusal(401, "unauthenticated", "This key is not valid any more.");
  await visit(browser, { path: `/#${id}`, refusals: [401] }, async (page) => {
    await says(page, "Done");
    await page.getByRole("application", { name: /3D/ }).waitFor();
    await refuse(page, /result/, none);
    await page.locator("#downloads button").first().click();
    await says(page, "This key is not valid any more.", "#key-reason");
    await page.getByRole("dialog", { name: "API key" }).getByRole("button", { name: "Use it" }).click();
    // All of it is fetched anew, the button that was pressed too.
    await page.waitForFunction(() => document.activeElement.id === "job-title");
    await page.getByRole("application", { name: /3D/ }).waitFor();
  });
});

test("on a slow network the picture comes before the model", async () => {
  const id = await submit();
  await reached(id, "completed");
  let go;
  const held = new Promise((done) => (go = done));
  const prepare = (page) => page.route(/format=glb/, async (route) => {
    await held;
    await route.fallback();
  });
  await visit(browser, { path: `/#${id}`, prepare }, async (page) => {
    await page.getByRole("img", { name: "Picture of the asset" }).waitFor();
    await says(page, /Loading the model/, "#viewer-state");
    await screenshot(page, "trouble-slow");
    go();
    await page.getByRole("application", { name: /3D/ }).waitFor();
    await page.getByRole("img", { name: "Picture of the asset" }).waitFor({ state: "detached" });
  });
});

test("what was deleted does not come back with a list that is behind", async () => {
  const id = await submit();
  await reached(id, "completed");
  await visit(browser, {}, async (page) => {
    await page.locator("#jobs > li").waitFor();
    const behind = await ask("GET", "/api/v1/jobs");
    const asked = [];
    await page.route(/api\/v1\/jobs\?/, (route) => {
      asked.push(route);
      return asked.length === 1 ? route.fulfill({ json: behind }) : route.fallback();
    });
    await page.locator("#jobs .remove").click();
    await page.getByRole("dialog", { name: "Delete this asset?" }).getByRole("button", { name: "Delete" }).click();
    await says(page, "None yet.", "#past-state");
    await says(page, "All 0", "#filter");
    assert.equal(await page.locator("#jobs > li").count(), 0);
    assert.equal(asked.length, 2);
  });
});
