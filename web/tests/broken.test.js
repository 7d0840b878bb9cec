// The newcomer's story goes on: they break their machine, go back, go on from before, show it to
// others, let them try, publish it, and put it into a page. Times are asserted at three times their
// targets.

import assert from "node:assert/strict";
import { test } from "node:test";
import { scene } from "./scene.js";
import {
  caughtUp,
  closeDialog,
  enterLine,
  hasPrompt,
  openPage,
  otherSite,
  pictureWhere,
  thenWhere,
  typeLine,
  within,
} from "./stackvm.js";

/** Targets, in milliseconds. */
const PICTURE_MS = 150;
const BREAK_IN_MS = 1000;
const TRY_MS = 1000;

const { browser, owner, machineUrl } = await scene();
const needle = owner.getByRole("slider", { name: "Instant shown" });

/** Makes links in the open share dialog, and returns the one called `name`. */
async function link(name) {
  const dialog = owner.getByRole("dialog");
  await dialog.getByRole("button", { name: /^Make the link/ }).click();
  const url = await dialog.getByRole("textbox", { name }).inputValue();
  await closeDialog(owner);
  return url;
}

test("a newcomer breaks a machine, and it comes to nothing but good", async () => {
  await typeLine(owner, "echo precious > ~/work; cat ~/work");
  await pictureWhere(owner, (rows) => rows.includes("precious") && hasPrompt(rows));
  await enterLine(owner, "rm -rf ~ /bin; cat ~/work");
  await pictureWhere(owner, (rows) => rows.some((row) => row.includes("No such file")));

  await goBack();
  await goOn();
  const { looker, visitor } = await showOthers();
  const blog = await publish();
  for (const page of [owner, looker, visitor, blog]) assert.deepEqual(page.complaints, []);
});

/** Back to before it happened: by the key, and by dragging. */
async function goBack() {
  const isBefore = (rows) => rows.at(-1)?.endsWith("rm -rf ~ /bin; cat ~/work") === true;
  await caughtUp(owner);
  await owner.keyboard.press("Control+Alt+KeyZ");
  await thenWhere(owner, isBefore);
  await within(PICTURE_MS, "a picture of the past", async () => {
    await needle.press("Home");
    await thenWhere(owner, (rows) => rows.some((row) => row.includes("BusyBox")));
  });
  await owner.getByRole("button", { name: "To before the next Enter" }).click();
  await owner.getByRole("button", { name: "To before the next Enter" }).click();
  await thenWhere(owner, isBefore);
}

/** On from before it happened, with a line taken back; and to the dead one, which is still there. */
async function goOn() {
  await within(BREAK_IN_MS, "breaking in", async () => {
    await owner.getByRole("button", { name: "Break in" }).click();
    await owner.waitForURL((url) => url.pathname !== new URL(machineUrl).pathname);
    await pictureWhere(owner, (rows) => rows.at(-1)?.endsWith("rm -rf ~ /bin; cat ~/work") === true);
    await owner.keyboard.press("Control+u");
    await pictureWhere(owner, hasPrompt);
  });
  await typeLine(owner, "cat ~/work");
  await pictureWhere(owner, (rows) => rows.at(-2) === "precious" && hasPrompt(rows));
  const alive = owner.url();
  await owner.getByRole("link", { name: "Return" }).click();
  await pictureWhere(owner, (rows) => rows.some((row) => row.includes("No such file")));
  await owner.goto(alive);
  await pictureWhere(owner, hasPrompt);
}

/** A moment for one, a machine of their own for another. */
async function showOthers() {
  await owner.getByRole("button", { name: "Share", exact: true }).click();
  await owner.getByRole("radio", { name: /^Moment/ }).check();
  const looker = await openPage(browser, await link("Whoever has this one looks at it"));
  await thenWhere(looker, (rows) => rows.at(-2) === "precious");

  await owner.getByRole("button", { name: "Share", exact: true }).click();
  await owner.getByRole("radio", { name: /^Try/ }).check();
  const url = await link("Whoever has this one gets a machine of their own");
  // The first one waits until the moment is in memory.
  await pictureWhere(await openPage(browser, url), hasPrompt);
  const visitor = await within(TRY_MS, "a visitor's prompt", async () => {
    const page = await openPage(browser, url);
    await pictureWhere(page, hasPrompt);
    return page;
  });
  await typeLine(visitor, "rm ~/work; clear; ls ~");
  await pictureWhere(visitor, (rows) => rows.length === 1 && hasPrompt(rows));
  await typeLine(owner, "clear; cat ~/work");
  await pictureWhere(owner, (rows) => rows[0] === "precious" && hasPrompt(rows));
  return { looker, visitor };
}

/** What happened becomes a recording, and a part of somebody's page. */
async function publish() {
  await caughtUp(owner);
  await owner.getByRole("button", { name: "Keep a recording" }).click();
  await owner.getByRole("form", { name: "New recording" }).getByRole("button", { name: "Keep it" }).click();
  await owner.getByRole("button", { name: "Publish", exact: true }).click();
  const dialog = owner.getByRole("dialog");
  await dialog.getByRole("button", { name: "Publish", exact: true }).click();
  const snippet = await dialog.getByRole("textbox", { name: "Embed code" }).inputValue();
  await closeDialog(owner);
  const blog = await openPage(browser, await otherSite(snippet));
  const frame = blog.frameLocator("iframe");
  await frame.getByRole("slider", { name: "Instant shown" }).press("End");
  await frame.getByText("precious", { exact: true }).first().waitFor();
  return blog;
}
