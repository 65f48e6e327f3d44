// Making, following, fetching, listing and ending assets.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, beforeEach, test } from "node:test";
import { ask, clear, drawn, give, key, launch, reached, says, submit, visit } from "./browser.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());
beforeEach(clear);

const make = (page) => page.getByRole("button", { name: "Make it" }).click();

test("a key is asked for, kept in the tab alone, and asked for again where it is none", async () => {
  await visit(browser, { withKey: false, refusals: [401] }, async (page) => {
    const dialog = page.getByRole("dialog", { name: "API key" });
    await dialog.waitFor();
    for (const wrong of ["trellis_wrong"]) {
      await dialog.getByLabel("Key", { exact: true }).fill(wrong);
      await dialog.getByRole("button", { name: "Use it" }).click();
    }
    await says(page, /key/i, "#past-error");
    await dialog.waitFor();
    await dialog.getByLabel("Key", { exact: true }).fill(key);
    await dialog.getByLabel("Key", { exact: true }).press("Enter");
    await says(page, "None yet.", "#past-state");
    assert.equal(await dialog.isVisible(), false);
    const kept = await page.evaluate(() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie, location.href]);
    assert.deepEqual(kept.map((place) => place.includes(key)), [true, false, false, false]);
    await page.reload();
    await says(page, "None yet.", "#past-state");
  });
});

test("a dropped photo becomes a model that turns, and files", async () => {
  await visit(browser, { acceptDownloads: true }, async (page) => {
    await give(page, "drop", {});
    await page.getByRole("img", { name: "photo.png" }).waitFor();
    await page.getByText("More options").click();
    for (const format of ["OBJ", "USDZ", "STL", "PLY"]) await page.getByLabel(format).check();
    await make(page);
    await says(page, "Done");
    const model = page.getByRole("application", { name: /3D/ });
    await model.waitFor();
    const before = await drawn(page);
    await model.focus();
    for (let step = 0; step < 4; step += 1) await page.keyboard.press("ArrowLeft");
    await drawn(page, before);

    const starts = { GLB: "glTF", OBJ: "PK", USDZ: "PK", STL: "", PLY: "ply", Picture: "\x89PNG", "All files": "PK" };
    for (const [name, start] of Object.entries(starts)) {
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.getByRole("list", { name: "Downloads" }).getByRole("button", { name: new RegExp(`^${name}`) }).click(),
      ]);
      const bytes = readFileSync(await download.path());
      assert.ok(bytes.length > 100 && bytes.toString("latin1").startsWith(start), `${name}: ${bytes.length} bytes`);
      const ending = { OBJ: "zip", Picture: "png", "All files": "zip" }[name] ?? name.toLowerCase();
      assert.match(download.suggestedFilename(), new RegExp(`^gj-\\w+.*\\.${ending}$`));
    }
  });
});

test("a pasted photo becomes an asset", async () => {
  await visit(browser, {}, async (page) => {
    await page.getByLabel("a description").check();
    await give(page, "paste", {});
    await page.getByRole("img", { name: "photo.png" }).waitFor();
    assert.ok(await page.getByLabel("a picture").isChecked());
    await make(page);
    await says(page, "Done");
  });
});

test("a description becomes an asset", async () => {
  await visit(browser, {}, async (page) => {
    await page.getByLabel("a description").check();
    await page.getByRole("textbox", { name: "Description" }).fill("a cup of coffee");
    await page.getByText("More options").click();
    await page.getByLabel(/^Seed/).fill("12");
    await make(page);
    await says(page, "Done");
    const { jobs } = await ask("GET", "/api/v1/jobs");
    const job = await ask("GET", `/api/v1/jobs/${jobs[0].id}`);
    assert.deepEqual([job.input, job.prompt, job.seed], ["text", "a cup of coffee", 12]);
    assert.match(page.url(), new RegExp(`#${jobs[0].id}$`));
    await page.reload();
    await says(page, "Done");
  });
});

test("a mesh gets another surface, and so does an asset", async () => {
  const triangle = { name: "triangle.obj", type: "", bytes: Buffer.from("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n") };
  await visit(browser, { refusals: [422] }, async (page) => {
    await page.getByLabel("a mesh", { exact: true }).check();
    await make(page);
    await says(page, "Choose a mesh first.", "#mesh-error");
    await give(page, "drop", { name: "notes.txt", type: "text/plain" });
    await says(page, "notes.txt is no GLB, OBJ, PLY or STL mesh.", "#mesh-error");
    await page.getByLabel("a picture", { exact: true }).check();
    await give(page, "drop", triangle);
    assert.ok(await page.getByLabel("a mesh", { exact: true }).isChecked());
    assert.equal(await page.locator("#mesh[aria-invalid]").count(), 0);
    await give(page, "drop", {});
    assert.ok(await page.getByLabel("a picture", { exact: true }).isChecked());
    await page.getByLabel("a mesh", { exact: true }).check();
    await page.getByRole("button", { name: "Remove triangle.obj" }).click();
    assert.equal(await page.locator("#meshes li").count(), 0);
    await page.getByLabel(/^Choose a mesh/).setInputFiles({ name: "broken.stl", mimeType: "", buffer: Buffer.from("nothing") });
    await make(page);
    await says(page, "Describe the surface first.", "#prompt-error");
    await page.getByRole("textbox", { name: "Its new surface" }).fill("rusty iron");
    await make(page);
    await says(page, /mesh/i, "#mesh-error");
    await give(page, "paste", triangle);
    await make(page);
    await says(page, "Done");
    const [job] = (await ask("GET", "/api/v1/jobs?input=variant")).jobs;

    await page.getByLabel("a picture", { exact: true }).check();
    await page.getByRole("button", { name: "Give it another surface" }).click();
    await page.getByText(`${job.id}.glb`).waitFor();
    await page.waitForFunction(() => document.activeElement.id === "prompt");
    await page.keyboard.press("ControlOrMeta+a");
    await page.keyboard.type("old gold");
    await make(page);
    await page.waitForFunction((before) => location.hash !== `#${before}`, job.id);
    await says(page, "Done");
    const { jobs } = await ask("GET", "/api/v1/jobs?input=variant");
    assert.equal(jobs.length, 2);
  });
});

test("a picture that is none is refused beside its field", async () => {
  await visit(browser, { refusals: [422] }, async (page) => {
    await make(page);
    await says(page, "Choose a picture first.", "#image-error");
    await give(page, "drop", { name: "notes.txt", type: "text/plain" });
    await says(page, "notes.txt is no PNG, JPEG or WebP picture.", "#image-error");
    await give(page, "drop", { name: "broken.png", bytes: Buffer.from("not at all") });
    await make(page);
    await says(page, /image/i, ".error");
    assert.equal(await page.locator("#job-body").isVisible(), false);
    await page.getByRole("button", { name: "Remove broken.png" }).click();
    assert.equal(await page.getByRole("img", { name: "broken.png" }).count(), 0);
  });
});

test("several views become several versions of one asset", async () => {
  await visit(browser, {}, async (page) => {
    await give(page, "drop", { name: "front.png" }, { name: "back.png" });
    await give(page, "paste", { name: "side.png" });
    await page.getByRole("button", { name: "Remove back.png" }).click();
    assert.equal(await page.locator("#pictures li").count(), 2);
    await page.getByText("More options").click();
    await page.getByLabel(/^Versions/).fill("2");
    await make(page);
    await says(page, "Done");
    await page.getByRole("application", { name: /3D/ }).waitFor();
    const second = page.waitForRequest(/format=glb&sample=1$/);
    await page.getByRole("radio", { name: "2", exact: true }).check();
    await second;
    await page.getByRole("application", { name: /3D/ }).waitFor();
    const names = [];
    for (const version of [1, 2]) {
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.getByRole("button", { name: new RegExp(`^GLB ${version}`) }).click(),
      ]);
      names.push(download.suggestedFilename());
    }
    assert.match(names.join(" "), /^(gj-\w+)-0\.glb \1-1\.glb$/);
  });
});

test("progress is shown by stage, and what runs can be cancelled", async () => {
  await visit(browser, {}, async (page) => {
    await give(page, "drop", {});
    await page.getByText("More options").click();
    await page.getByLabel(/^Seed/).fill("1");
    await make(page);
    await says(page, "Fine shape and surface");
    assert.equal(await page.getByRole("progressbar").getAttribute("value"), "62");
    assert.equal(await page.locator("#job-stages [aria-current=step]").innerText(), "Fine shape and surface");
    assert.match(await page.title(), /^62\s%/);
    await says(page, /Being made/, "#jobs");

    await page.getByLabel(/^Seed/).fill("3");
    await make(page);
    await says(page, /^Next in the queue/);
    await page.getByRole("button", { name: "Cancel", exact: true }).filter({ visible: true }).click();
    await says(page, "Cancelled");
    await page.locator("#jobs .open", { hasText: "Being made" }).click();
    await says(page, "Fine shape and surface");
    await page.getByRole("button", { name: "Cancel", exact: true }).filter({ visible: true }).click();
    await says(page, "Cancelled");
    await page.locator("#job-stages").waitFor({ state: "hidden" });
  });
});

test("a failed asset says why, and is tried again", async () => {
  await visit(browser, {}, async (page) => {
    await give(page, "drop", {});
    await page.getByText("More options").click();
    await page.getByLabel(/^Seed/).fill("2");
    await make(page);
    await says(page, "Failed");
    await says(page, "shows no object that stands out", "#job-error");
    await page.locator("#actions").getByRole("button", { name: "Try again" }).click();
    await says(page, "Done");
    await page.getByRole("application", { name: /3D/ }).waitFor();
    assert.equal(await page.locator("#job-error").innerText(), "");
  });
});

test("the list has pictures, a filter and pages", async () => {
  const ids = [];
  for (let seed = 10; seed < 24; seed += 1) ids.push(await submit({ seed }));
  await reached(ids.at(-1), "completed");
  const failed = await submit({ seed: 2 });
  await reached(failed, "failed");
  await visit(browser, {}, async (page) => {
    const rows = page.locator("#jobs > li");
    await rows.nth(11).waitFor();
    await page.locator("#jobs img").nth(10).waitFor();
    assert.equal(await rows.count(), 12);
    await page.getByRole("button", { name: "Show more" }).click();
    await rows.nth(14).waitFor();
    assert.equal(await page.evaluate(() => [...document.querySelectorAll("#jobs .open")].indexOf(document.activeElement)), 12);

    await page.getByRole("radio", { name: /^Failed/ }).check();
    await page.waitForFunction(() => document.querySelectorAll("#jobs > li").length === 1);
    await rows.getByRole("button", { name: /^Failed/ }).click();
    await says(page, "shows no object", "#job-error");
    await page.getByRole("radio", { name: /^Cancelled/ }).check();
    await says(page, "None of them.", "#past-state");
    await page.getByRole("radio", { name: /^Done/ }).check();
    await rows.nth(11).waitFor();
    await page.getByRole("radio", { name: /^All/ }).check();
    await rows.getByRole("button", { name: /^Failed/ }).waitFor();
  });
});

test("deleting is asked about first", async () => {
  const id = await submit();
  await reached(id, "completed");
  await visit(browser, { path: `/#${id}` }, async (page) => {
    await says(page, "Done");
    const dialog = page.getByRole("dialog", { name: "Delete this asset?" });
    const remove = page.locator("#actions").getByRole("button", { name: "Delete" });
    await remove.click();
    await dialog.getByRole("button", { name: "Keep it" }).click();
    await dialog.waitFor({ state: "hidden" });
    assert.equal(await page.locator("#jobs > li").count(), 1);
    assert.equal(await remove.evaluate((button) => button === document.activeElement), true);
    await page.locator("#jobs .remove").click();
    await dialog.getByRole("button", { name: "Delete" }).click();
    await says(page, "None yet.", "#past-state");
    assert.equal(await page.locator("#job-body").isVisible(), false);
    const { jobs } = await ask("GET", "/api/v1/jobs");
    assert.deepEqual(jobs, []);
  });
});

test("an asset that was kept is not deleted with the next one", async () => {
  const [other, kept] = [await submit(), await submit()];
  await reached(kept, "completed");
  await visit(browser, { path: `/#${kept}` }, async (page) => {
    await says(page, "Done");
    await page.locator("#jobs > li").nth(1).waitFor();
    // Faster than the browser draws: it tells that a dialog closed with the next frame, and once.
    await page.evaluate(() => {
      const press = (selector) => document.querySelector(selector).click();
      press("#delete");
      press("#delete-dialog button[value='']");
      press("#jobs > li:nth-child(2) .remove");
      press("#delete-dialog button[value=delete]");
    });
    await page.locator("#jobs > li").nth(1).waitFor({ state: "detached" });
    await page.locator("#delete:not([aria-disabled])").waitFor();
    const { jobs } = await ask("GET", "/api/v1/jobs");
    assert.deepEqual(jobs.map(({ id }) => id), [kept], `${other} was to be deleted`);
    await says(page, "Done");
  });
});
