// What a machine's page has beside its terminal: marks, a window for a console, facts, a phone's
// menu; and what people see of each other and may do to each other.

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
  picture,
  pictureWhere,
  share,
  typeLine,
  watch,
} from "./stackvm.js";

const { browser, home, owner, machineUrl } = await scene();
const links = await share(owner);

async function atMachine() {
  owner.complaints.length = 0;
  await owner.goto(machineUrl);
  await clearScreen(owner);
}
const choose = async (page, word) => {
  await page.getByRole("button", { name: "More", exact: true }).click();
  await page.getByRole("button", { name: word }).click();
};
async function join(link = links.typing, options = {}) {
  const page = await openPage(browser, link, options);
  await pictureWhere(page, hasPrompt);
  return page;
}
/** What the person is called; also opens the list of people. */
async function nameOf(page) {
  await page.getByRole("button", { name: /^People, / }).click();
  const list = page.getByRole("list", { name: "People" });
  const own = list.getByRole("button", { name: /^Your name/ });
  return (await own.getAttribute("aria-label")).replace("Your name: ", "");
}

test("an instant with a name is gone back to in a new machine", async () => {
  await atMachine();
  await typeLine(owner, "state=before");
  await pictureWhere(owner, (rows) => rows.length === 2 && hasPrompt(rows));
  await choose(owner, /^Marks/);
  const sheet = owner.getByRole("dialog", { name: /^Marks of/ });
  await sheet.getByRole("textbox", { name: "Name of this instant" }).fill("before <b>");
  await sheet.getByRole("button", { name: "Mark it" }).click();
  await sheet.getByText("before <b>", { exact: true }).waitFor();
  await closeDialog(owner);
  await typeLine(owner, "state=after; echo changed");
  await pictureWhere(owner, (rows) => rows.includes("changed") && hasPrompt(rows));
  await choose(owner, /^Marks/);
  await sheet.getByRole("button", { name: "Restore as a new machine" }).click();
  // The page goes there at once, and shows how far it is until it runs.
  await owner.waitForURL((url) => url.pathname.startsWith("/m/") && url.href !== machineUrl);
  const typed = "root@tiny:~# state=before";
  await pictureWhere(owner, (rows) => rows.includes(typed) && hasPrompt(rows));
  await typeLine(owner, "clear; echo $state");
  await pictureWhere(owner, (rows) => rows.at(-2) === "before" && hasPrompt(rows));
  await owner.goto(machineUrl);
  await pictureWhere(owner, hasPrompt);
  await typeLine(owner, "clear; echo $state");
  await pictureWhere(owner, (rows) => rows.at(-2) === "after" && hasPrompt(rows));
});

test("a console has a window of its own, which is the same console", async () => {
  await atMachine();
  const opened = owner.context().waitForEvent("page");
  await owner.getByRole("button", { name: "Own window" }).click();
  const own = await opened;
  watch(own);
  await pictureWhere(own, hasPrompt);
  assert.equal(new URL(own.url()).search, "?console=0");
  assert.equal(await own.getByRole("button", { name: "Share" }).count(), 0);
  await typeLine(own, "echo from its window");
  await pictureWhere(owner, (rows) => rows.includes("from its window") && hasPrompt(rows));
  assert.deepEqual(own.complaints, []);
  await own.close();
});

test("what is known of a machine, and a digest that says two are the same", async () => {
  await atMachine();
  const digest = async () => {
    await choose(owner, /^About this machine/);
    const sheet = owner.getByRole("dialog");
    await sheet.getByText(/^\d+ MiB$/).waitFor();
    await sheet.getByText("1 hart").waitFor();
    await sheet.getByText(/^\d\d:\d\d:\d\d\.\d{3} \d{3} \d{3}$/).waitFor();
    await sheet.getByRole("button", { name: "Compute its digest" }).click();
    const text = await sheet.locator(".hash").innerText();
    await closeDialog(owner);
    return text;
  };
  await owner.getByRole("button", { name: "Power" }).click();
  await owner.getByRole("button", { name: /^Pause/ }).click();
  await owner.getByText("Its time is held.").waitFor();
  const first = await digest();
  assert.match(first, /^[0-9a-f]{64}$/);
  assert.equal(await digest(), first);
  await owner.getByRole("button", { name: "Resume" }).click();
  await owner.getByText("Its time is held.").waitFor({ state: "detached" });
  assert.notEqual(await digest(), first);
});

test("on a phone, find, full screen and an own window are in the menu", async () => {
  const storageState = await owner.context().storageState();
  const phone = await join(machineUrl, { ...PHONE, storageState });
  await choose(phone, "Find in the terminal");
  const field = phone.getByRole("searchbox").or(phone.getByLabel("Find in the terminal"));
  await field.fill("nowhere to be seen");
  await phone.getByText("not there").waitFor();
  await phone.getByRole("button", { name: "End finding" }).click();

  await choose(phone, "Full screen");
  await phone.waitForFunction(() => document.fullscreenElement !== null);
  await phone.getByRole("button", { name: "Tab", exact: true }).waitFor();
  await choose(phone, "Leave full screen");
  await phone.waitForFunction(() => document.fullscreenElement === null);

  const opened = phone.context().waitForEvent("page");
  await choose(phone, "Own window");
  const own = await opened;
  watch(own);
  await pictureWhere(own, hasPrompt);
  await own.getByRole("button", { name: "Full screen" }).waitFor();
  for (const page of [phone, own]) {
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    assert.deepEqual(page.complaints, []);
  }
});

test("whoever types is named at the cursor, to the others and for two seconds", async () => {
  await atMachine();
  const guest = await join();
  const name = await nameOf(guest);
  await guest.locator('section[aria-label="Terminal"] textarea').focus();
  await guest.keyboard.type("x");
  const tag = owner.locator(".typist");
  await tag.getByText(name, { exact: true }).waitFor();
  const shown = performance.now();
  // The cursor may still be on its way: what was typed is drawn a frame or two later.
  await owner.waitForFunction(() => {
    const [at, cursor] = [".typist", ".xterm-cursor"]
      .map((it) => document.querySelector(it))
      .map((it) => it?.getBoundingClientRect());
    return at && cursor && Math.abs(at.x - cursor.x) < 24 && Math.abs(at.y - cursor.bottom) < 12;
  });
  assert.equal(await guest.locator(".typist").count(), 0);
  await tag.waitFor({ state: "detached" });
  const took = performance.now() - shown;
  assert.ok(took > 1000 && took < 6000, `${took} ms`);
  // Other news of people is no typing.
  await guest.getByRole("button", { name: `Your name: ${name}` }).click();
  await guest.getByRole("textbox", { name: "Your name" }).fill("Somebody Else");
  await guest.keyboard.press("Enter");
  await owner.getByTitle(/^Somebody Else,/).waitFor();
  assert.equal(await tag.count(), 0);
  await guest.locator('section[aria-label="Terminal"] textarea').focus();
  await guest.keyboard.press("Backspace");
  await pictureWhere(owner, hasPrompt);
});

test("the owner mutes somebody, and puts them out", async () => {
  await atMachine();
  const guest = await join();
  const name = await nameOf(guest);
  await guest.getByRole("tab", { name: "Chat" }).click();
  const field = guest.getByRole("textbox", { name: "Say something" });
  await field.fill("before");
  await guest.keyboard.press("Enter");
  await guest.getByText("before", { exact: true }).waitFor();
  await nameOf(owner);
  const doTo = async (word) => {
    await owner.getByRole("button", { name: `What to do with ${name}` }).click();
    await owner.getByRole("button", { name: word, exact: true }).click();
  };
  await doTo("Mute");
  await guest.getByText("The owner has muted you.").waitFor();
  assert.equal(await field.count(), 0);
  await doTo("Let them write");
  await field.waitFor();

  await doTo("Put out");
  await owner.getByRole("button", { name: "Put out? Press again" }).click();
  await guest.getByRole("heading", { name: "You were put out" }).waitFor();
  const others = owner.getByRole("list", { name: "People" }).getByText(name, { exact: true });
  await others.waitFor({ state: "detached" });
});

test("in a frame on another site, typing needs a click, and no cookies", async () => {
  await atMachine();
  // On this computer as well: browsers keep pages of the internet from what is only here.
  const guest = await openPage(browser, await otherSite(links.snippet));
  const frame = guest.frameLocator("iframe");
  await frame.locator(".xterm-rows", { hasText: "root@" }).waitFor();
  await frame.getByText("you: may type").waitFor();
  await guest.keyboard.type("stolen");
  assert.equal(await guest.evaluate(() => document.activeElement?.tagName), "BODY");
  await frame.locator(".xterm-screen").click();
  await guest.keyboard.type("echo clicked\n");
  const rows = await pictureWhere(owner, (it) => it.includes("clicked") && hasPrompt(it));
  assert.ok(!rows.join("\n").includes("stolen"), rows.join("\n"));
  assert.deepEqual(await picture(owner), rows);
  assert.deepEqual(await guest.context().cookies(), []);
});
