// Try links: each visitor gets a machine of their own that begins at one instant of the owner's.

import assert from "node:assert/strict";
import { test } from "node:test";
import { scene } from "./scene.js";
import {
  clearScreen,
  closeDialog,
  hasPrompt,
  openPage,
  otherSite,
  PHONE,
  pictureWhere,
  typeLine,
  visitLink,
  within,
} from "./stackvm.js";

/** From the click on a link to the prompt, in milliseconds. */
const PROMPT_MS = 1000;

const { browser, home, owner, machineUrl } = await scene();

/** Makes a Try link of the machine as it is now. */
async function tryLink() {
  await owner.getByRole("button", { name: "Share", exact: true }).click();
  const dialog = owner.getByRole("dialog");
  await dialog.getByRole("radio", { name: /^Try/ }).check();
  await dialog.getByText("start over").waitFor();
  await dialog.getByRole("radio", { name: "5", exact: true }).check();
  await dialog.getByText(/^That is 2.5 cores/).waitFor();
  await dialog.getByRole("button", { name: "Make the link", exact: true }).click();
  const name = "Whoever has this one gets a machine of their own";
  const url = await dialog.getByRole("textbox", { name }).inputValue();
  const snippet = await dialog.getByRole("textbox", { name: "Embed code" }).inputValue();
  await closeDialog(owner);
  return { url, snippet };
}

const startOver = async (page) => {
  await page.getByRole("button", { name: "Start over" }).click();
  await page.getByRole("button", { name: "Lose this one?" }).click();
};
const isShown = (line) => (rows) => rows.includes(line) && hasPrompt(rows);

test("each visitor gets a machine of their own, and may start over", async () => {
  await clearScreen(owner);
  await typeLine(owner, "state=ready; echo set");
  await pictureWhere(owner, isShown("set"));
  const { url } = await tryLink();
  await typeLine(owner, "clear; state=later; echo later");
  await pictureWhere(owner, isShown("later"));

  // The first one waits until the moment is in memory.
  const first = await openPage(browser, url);
  await pictureWhere(first, isShown("set"));
  const second = await within(PROMPT_MS, "a machine of one's own", async () => {
    const page = await openPage(browser, url, PHONE);
    await pictureWhere(page, isShown("set"));
    return page;
  });
  await first.getByText("A machine of your own").waitFor();
  await first.getByText(/^(29|30) min left$/).waitFor();
  assert.notEqual(first.url(), second.url());
  await typeLine(first, "clear; echo $state; hostname; state=mine");
  const rows = await pictureWhere(first, (it) => it[0] === "ready" && hasPrompt(it));
  // It is another machine, also by its own account.
  assert.equal(rows[1], new URL(first.url()).pathname.split("/").at(-1));
  await typeLine(second, "clear; echo $state");
  await pictureWhere(second, (it) => it[0] === "ready" && hasPrompt(it));
  // Nobody has heard of it, the owner neither.
  await pictureWhere(owner, (it) => it[0] === "later");

  const before = first.url();
  await startOver(first);
  await first.waitForURL((now) => now.href !== before);
  await pictureWhere(first, isShown("set"));
  await typeLine(first, "clear; echo $state");
  await pictureWhere(first, (it) => it[0] === "ready" && hasPrompt(it));
  // Loading the page again is no start over.
  const again = first.url();
  await first.goto(url);
  await pictureWhere(first, (it) => it[0] === "ready" && hasPrompt(it));
  assert.equal(first.url(), again);
  // One that is switched off is gone.
  await typeLine(second, "poweroff -f");
  await second.getByRole("heading", { name: "Your machine is gone" }).waitFor();
  await second.getByRole("button", { name: "Start over" }).click();
  await pictureWhere(second, isShown("set"));

  // The owner sees how many there are, not each of them among the machines.
  await owner.goto(home.origin);
  await owner.getByText("a moment", { exact: true }).waitFor();
  assert.equal(await owner.getByRole("link", { name: again.split("/").at(-1) }).count(), 0);
  assert.deepEqual(first.complaints, []);
  await owner.goto(machineUrl);
  await pictureWhere(owner, hasPrompt);
});

test("who comes too late waits, and is let in when a place is free", async () => {
  await clearScreen(owner);
  const url = await visitLink(owner, 1);
  const first = await openPage(browser, url);
  await pictureWhere(first, hasPrompt);
  const second = await openPage(browser, url, PHONE);
  await second.getByText("You are next").waitFor();
  const third = await openPage(browser, url);
  await third.getByText("1 other is before you").waitFor();
  // Whoever starts over gives up their place.
  await startOver(first);
  await first.getByText("All machines are taken just now").waitFor();
  await pictureWhere(second, hasPrompt);
  await third.getByText("You are next").waitFor();
  // Nor does anybody take more memory than there is for each.
  await typeLine(second, "dd if=/dev/zero of=/dev/null bs=48M count=1");
  await second.getByText(/^It took more memory/).waitFor();
  await pictureWhere(third, hasPrompt);
});

test("in a page of somebody else's, a machine to try", async () => {
  await clearScreen(owner);
  await typeLine(owner, "echo in a page");
  await pictureWhere(owner, isShown("in a page"));
  const { snippet } = await tryLink();
  const reader = await openPage(browser, await otherSite(snippet));
  const frame = reader.frameLocator("iframe");
  const shown = (text) => frame.locator(".xterm-rows", { hasText: text }).waitFor();
  await shown("in a page");
  await frame.locator(".xterm-screen").click();
  await reader.keyboard.type("clear; echo tried\n");
  await shown("tried");
  await startOver(frame);
  await shown("in a page");
  assert.deepEqual(await reader.context().cookies(), []);
});
