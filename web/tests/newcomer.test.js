// Somebody who has never heard of this: their first three minutes, in one story. Times are asserted
// at three times their targets; the image is made already.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  closeDialog,
  echoMs,
  hasPrompt,
  Home,
  launch,
  openPage,
  PHONE,
  picture,
  pictureWhere,
  share,
  typeLine,
  within,
} from "./stackvm.js";

/** Targets, in milliseconds. */
const PROMPT_MS = 1000;
const ECHO_MS = 20;
const END_MS = 1000;
const AGAIN_MS = 2000;
/** The whole story. */
const MINUTES_MS = 3 * 60_000;
const KEYS = 31;

let browser;
let home;
before(async () => {
  browser = await launch();
  home = await Home.make();
});
after(async () => {
  await browser.close();
  await home.remove();
});

test("a newcomer's first three minutes", async () => {
  const start = Date.now();
  const owner = await begin();
  await typeFirst(owner);
  const links = await share(owner);
  await closeDialog(owner);
  const friend = await within(PROMPT_MS, "the prompt behind a shared link", async () => {
    const page = await openPage(browser, links.typing);
    await pictureWhere(page, hasPrompt);
    return page;
  });
  assert.equal(new URL(friend.url()).hash, "");
  await pass(owner, friend);
  const phone = await joinByPhone(owner, links.typing);
  // Browsers complain of what a guest's page asked for as its link ended, and of a server that is
  // gone for a while.
  for (const page of [owner, friend, phone]) assert.deepEqual(page.complaints, []);
  await end(owner, [friend, phone]);
  assert.deepEqual(owner.complaints, []);
  await goOn(owner);
  assert.ok(Date.now() - start < MINUTES_MS, `${Date.now() - start} ms`);
});

/** `up` prints a link; it leads to a keyboard, without asking for anything. */
async function begin() {
  await home.up();
  const owner = await openPage(browser, home.link);
  await pictureWhere(owner, hasPrompt);
  assert.equal(new URL(owner.url()).hash, "");
  await owner.locator('section[aria-label="Terminal"] textarea:focus').waitFor();
  return owner;
}

/** Types, ends a program, reads the one hint, which goes away for good. */
async function typeFirst(owner) {
  await owner.keyboard.type("uname -m\n");
  await pictureWhere(owner, (rows) => rows.at(-2) === "riscv64" && hasPrompt(rows));
  await owner.keyboard.type("sleep 1000\n");
  await pictureWhere(owner, (rows) => rows.at(-1)?.endsWith("sleep 1000"));
  await owner.keyboard.press("Control+c");
  await pictureWhere(owner, (rows) => rows.at(-2) === "^C" && hasPrompt(rows));
  await owner.getByRole("button", { name: "Understood" }).click();
  // Somebody typed a moment ago: leaving asks.
  await owner.reload();
  assert.equal(owner.askedToStay, 1);
  await pictureWhere(owner, hasPrompt);
  assert.equal(await owner.getByRole("button", { name: "Understood" }).count(), 0);
  await typeLine(owner, "clear");
  await pictureWhere(owner, (rows) => rows.length === 1 && hasPrompt(rows));
  const times = [];
  for (let at = 0; at < KEYS; at += 1) {
    times.push(await echoMs(owner, String.fromCharCode(97 + (at % 26))));
  }
  const median = times.sort((a, b) => a - b)[KEYS >> 1];
  assert.ok(median <= ECHO_MS * 3, `an echo takes ${median} ms, the target is ${ECHO_MS} ms`);
  await owner.keyboard.press("Control+u");
  await pictureWhere(owner, hasPrompt);
}

/** The owner wants one typist at a time; the friend asks for the keyboard, gets it and types. */
async function pass(owner, friend) {
  await owner.getByRole("button", { name: /^Chat/ }).click();
  await owner.getByRole("tab", { name: "People" }).click();
  await owner.getByRole("radio", { name: "One types" }).check();
  await typeLine(owner, "echo mine");
  await pictureWhere(friend, (rows) => rows.includes("mine") && hasPrompt(rows));
  await typeLine(friend, "refused");
  await friend.getByText("that key was not typed").waitFor();
  const keyboard = friend.getByRole("group", { name: "Keyboard" });
  await keyboard.getByRole("button", { name: "Ask for it" }).click();
  await owner.getByRole("button", { name: "Give it" }).click();
  await friend.getByText("have the keyboard", { exact: true }).waitFor();
  await typeLine(friend, "echo from another browser");
  const seen = (rows) => rows.includes("from another browser") && hasPrompt(rows);
  const rows = await pictureWhere(owner, seen);
  assert.deepEqual(await pictureWhere(friend, seen), rows);
  assert.ok(!rows.some((row) => row.includes("refused")), rows.join("\n"));
  const side = owner.getByRole("complementary");
  await side.getByRole("button", { name: "Close", exact: true }).click();
}

/** A phone sees the same, and changes nothing by being there. */
async function joinByPhone(owner, link) {
  const size = await owner.locator(".size").innerText();
  const phone = await within(PROMPT_MS, "the prompt on a phone", async () => {
    const page = await openPage(browser, link, PHONE);
    await pictureWhere(page, hasPrompt);
    return page;
  });
  await owner.getByRole("button", { name: /^People, 3 here/ }).waitFor();
  assert.deepEqual(await picture(phone), await picture(owner));
  assert.equal(await owner.locator(".size").innerText(), size);
  assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  return phone;
}

/** The owner ends the link: everybody who came by it is told so at once, and is out. */
async function end(owner, guests) {
  await owner.getByRole("button", { name: "Share", exact: true }).click();
  const links = owner.getByRole("dialog").getByRole("listitem").filter({ hasText: "may type" });
  await links.getByText("2 here").waitFor();
  await links.getByRole("button", { name: "End" }).click();
  await within(END_MS, "the end of a link", async () => {
    await links.getByRole("button", { name: "End it now?" }).click();
    const told = guests.map((page) =>
      page.getByRole("heading", { name: "This link was ended" }).waitFor(),
    );
    await Promise.all(told);
  });
  await closeDialog(owner);
}

/** Ctrl-C on `up` and `up` again: the machine has not noticed, and no time went by for it. */
async function goOn(owner) {
  const machine = new URL(owner.url()).pathname;
  await typeLine(owner, "kept=here");
  const before = await uptime(owner);
  await home.end();
  const ended = performance.now();
  await owner.getByText("No line. Connecting again by itself").waitFor();
  const began = performance.now();
  await within(AGAIN_MS, "up again", async () => {
    await home.up();
    await owner.goto(home.origin + machine);
    assert.deepEqual(await pictureWhere(owner, hasPrompt), before.rows);
  });
  const after = await uptime(owner, before.rows[0]);
  const [off, guest] = [began - ended, after.guest - before.guest];
  const on = after.host - before.host - off;
  assert.ok(guest > 0, `${guest} ms`);
  // What was read was read a moment before it was seen; far less than it was off.
  assert.ok(guest < on + off / 2, `${guest} ms, of ${on} ms on and ${off} ms off`);
  await typeLine(owner, "echo $kept");
  await pictureWhere(owner, (it) => it.at(-2) === "here");
}

/**
 * How long the guest says that it is up, in milliseconds; and the host's clock then. What it said
 * earlier stands there until it is asked again.
 */
async function uptime(page, earlier) {
  await typeLine(page, "clear; cut -d' ' -f1 /proc/uptime");
  const isNew = (rows) => rows.length === 2 && hasPrompt(rows) && rows[0] !== earlier;
  const rows = await pictureWhere(page, isNew);
  return { guest: Number(rows[0]) * 1000, host: performance.now(), rows };
}
