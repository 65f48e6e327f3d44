// Everyone can use the page: by keyboard, with a screen reader, in light and dark, on a phone.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { accessible, ask, clear, drawn, give, key, launch, reached, says, submit, visit } from "./browser.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());
beforeEach(clear);

const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

test("all is done by keyboard alone", async () => {
  await visit(browser, { withKey: false }, async (page) => {
    const press = async (...keys) => {
      for (const key of keys) await page.keyboard.press(key);
    };
    /** Tabs until the focus is there. */
    const reach = async (selector) => {
      for (let steps = 0; steps < 60; steps += 1) {
        if (await page.evaluate((selector) => document.activeElement?.matches(selector), selector)) return;
        await press("Tab");
      }
      assert.fail(`the focus never comes to ${selector}`);
    };
    await page.getByRole("dialog", { name: "API key" }).waitFor();
    await page.keyboard.type(key);
    await press("Enter");
    await says(page, "None yet.", "#past-state");

    await reach("[name=input]");
    await press("ArrowDown");
    await reach("#prompt");
    await press("Tab", "Tab");
    await reach("summary");
    await press("Enter");
    await reach("#generate [type=submit]");
    await press("Enter");
    await says(page, "Describe the object first.", "#prompt-error");
    assert.equal(await page.evaluate(() => document.activeElement.id), "prompt");
    await page.keyboard.type("a cup of coffee");
    await reach("#generate [type=submit]");
    await press("Enter");
    await says(page, "Done");

    await page.getByRole("application", { name: /3D/ }).waitFor();
    await reach("#viewer canvas");
    const before = await drawn(page);
    await press("ArrowRight", "ArrowRight", "ArrowUp", "-");
    await drawn(page, before);
    await reach("#downloads button");
    await Promise.all([page.waitForEvent("download"), press("Enter")]);
    await reach("#delete");
    await press("Enter");
    await page.getByRole("dialog", { name: "Delete this asset?" }).waitFor();
    await press("Escape");
    assert.equal(await page.evaluate(() => document.activeElement.id), "delete");
    await reach("#filter input");
    await press("ArrowRight");
    await says(page, "None of them.", "#past-state");
    await press("ArrowLeft");
    await page.locator("#jobs .open").waitFor();
    await reach("#jobs .open");
    await press("Tab", "Enter");
    await page.getByRole("dialog", { name: "Delete this asset?" }).waitFor();
    await press("Shift+Tab", "Enter");
    await says(page, "None yet.", "#past-state");
    assert.equal(await page.evaluate(() => document.activeElement.id), "past-title");
  });
});

test("the focus stays where people took it, whatever changes around it", async () => {
  await submit();
  const [other, shown] = [await submit(), await submit({ seed: 1 })];
  await reached(other, "completed");
  await visit(browser, { path: `/#${shown}` }, async (page) => {
    await says(page, "Fine shape and surface");
    const rows = page.locator("#jobs > li");
    await rows.nth(2).waitFor();
    const mine = rows.nth(2).locator(".open");
    const focused = (locator) => locator.evaluate((element) => element === document.activeElement);
    // Who goes on while a dialog closes is not called back to what opened it.
    await rows.nth(2).locator(".remove").click();
    await page.evaluate(async () => {
      const dialog = document.querySelector("#delete-dialog");
      const closed = new Promise((done) => dialog.addEventListener("close", done, { once: true }));
      dialog.close();
      document.querySelector("#jobs > li:nth-child(3) .open").focus();
      await closed;
      await new Promise((done) => setTimeout(done));
    });
    assert.ok(await focused(mine), "the focus went back to the button that opened the dialog");
    // The row stays where it is although the one above it goes, and the list is brought up to date.
    await mine.evaluate((button) => (button.id = "mine"));
    await ask("DELETE", `/api/v1/jobs/${other}`);
    await ask("POST", `/api/v1/jobs/${shown}/cancel`);
    await says(page, "Cancelled");
    await rows.nth(2).waitFor({ state: "detached" });
    assert.ok(await focused(page.locator("#mine")), "the focus was lost when the list changed");
  });
});

test("where a job is, is read out", async () => {
  await visit(browser, {}, async (page) => {
    for (const [id, role] of [["job-state", "status"], ["job-error", "alert"], ["form-error", "alert"], ["past-error", "alert"]]) {
      assert.equal(await page.locator(`#${id}`).getAttribute("role"), role);
    }
  });
});

for (const [device, options] of [["desk", {}], ["phone", PHONE]]) {
  test(`each view is open to everyone, on a ${device}`, async () => {
    await visit(browser, { ...options, withKey: false }, async (page) => {
      await page.getByRole("dialog", { name: "API key" }).waitFor();
      await accessible(page, `${device}-key`);
    });
    await visit(browser, { ...options, refusals: [422] }, async (page) => {
      await says(page, "None yet.", "#past-state");
      await accessible(page, `${device}-empty`);
      await page.getByText("More options").click();
      await give(page, "drop", {}, { name: "side.png" });
      await give(page, "drop", { name: "notes.txt", type: "text/plain" });
      await page.getByLabel(/^Seed/).fill("-1");
      await page.getByRole("button", { name: "Make it" }).click();
      await says(page, /whole number/, "#seed-error");
      await accessible(page, `${device}-form`);
      await give(page, "drop", { name: "chair.obj", type: "" });
      await page.getByRole("button", { name: "Remove chair.obj" }).waitFor();
      await accessible(page, `${device}-mesh`);
    });
    await submit({ seed: 2 });
    const done = await submit({ output_formats: ["glb", "obj", "ply", "stl", "usdz"] });
    await reached(done, "completed");
    await submit({ seed: 1 });
    await submit();
    await visit(browser, options, async (page) => {
      await page.locator("#jobs img").first().waitFor();
      await page.locator("#jobs .open", { hasText: "Done" }).click();
      await page.getByRole("application", { name: /3D/ }).waitFor();
      await drawn(page);
      await accessible(page, `${device}-done`);
      await page.locator("#jobs .open", { hasText: "Failed" }).click();
      await says(page, "shows no object", "#job-error");
      await accessible(page, `${device}-failed`);
      await page.locator("#jobs .open", { hasText: "Being made" }).click();
      await says(page, "Fine shape and surface");
      await accessible(page, `${device}-progress`);
      await page.locator("#jobs .remove").first().click();
      await page.getByRole("dialog", { name: "Delete this asset?" }).waitFor();
      await accessible(page, `${device}-delete`);
    });
  });
}

test("the description of the API is shown", async () => {
  await visit(browser, { path: "/docs" }, async (page) => {
    await page.getByText("/api/v1/generate/text-to-3d").first().waitFor();
    // Swagger UI is as it comes: its colours, the list of servers without a name, and links within its buttons are not ours to mend.
    await accessible(page, "docs", ["color-contrast", "select-name", "nested-interactive"]);
  });
});
