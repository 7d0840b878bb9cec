// Moments: an instant that is kept as it was, looked at, and gone on from.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { scene } from "./scene.js";
import {
  clearScreen,
  closeDialog,
  hasPrompt,
  openPage,
  PHONE,
  pictureWhere,
  thenWhere,
  typeLine,
} from "./stackvm.js";

const { browser, home, owner, machineUrl } = await scene();

/** Keeps the moment shown, and makes links to it: for going on, and for looking. */
async function shareMoment() {
  await owner.getByRole("button", { name: "Share this moment" }).click();
  const dialog = owner.getByRole("dialog");
  await dialog.getByRole("heading", { name: /^Share the moment / }).waitFor();
  await dialog.getByRole("radio", { name: "Go on from it" }).check();
  await dialog.getByRole("button", { name: "Make the links" }).click();
  const link = (name) => dialog.getByRole("textbox", { name }).inputValue();
  const taking = await link("Whoever has this one may go on from it");
  const looking = await link("Whoever has this one looks at it");
  await closeDialog(owner);
  return { taking, looking };
}

test("a problem becomes text with a link to what is to be seen", async () => {
  await clearScreen(owner);
  await typeLine(owner, "ls /nowhere");
  await pictureWhere(owner, (rows) => /No such file/.test(rows.at(-2)) && hasPrompt(rows));
  await owner.getByRole("button", { name: "More", exact: true }).click();
  await owner.getByRole("button", { name: /^Report a problem/ }).click();
  const dialog = owner.getByRole("dialog");
  await dialog.getByRole("button", { name: "Make the report" }).click();
  const text = await dialog.getByRole("textbox", { name: "The report" }).inputValue();
  await closeDialog(owner);
  assert.match(text, /^ {4}\d\d:\d\d:\d\d\.\d {2}root@tiny:~# ls \/nowhere$/m);
  assert.match(text, /^ {4}ls: .*No such file or directory$/m);
  const reader = await openPage(browser, /<(http[^>]+)>/.exec(text)[1]);
  await thenWhere(reader, (rows) => rows.includes("root@tiny:~# ls /nowhere"));
  assert.deepEqual(owner.complaints, []);
});

test("a moment is looked at, gone on from, and outlives its machine", async () => {
  await clearScreen(owner);
  await typeLine(owner, "state=mine; echo look");
  await pictureWhere(owner, (rows) => rows.includes("look") && hasPrompt(rows));
  const { taking, looking } = await shareMoment();
  await typeLine(owner, "clear; state=changed; echo later");
  await pictureWhere(owner, (rows) => rows.includes("later") && hasPrompt(rows));

  const looker = await openPage(browser, looking, PHONE);
  await thenWhere(looker, (rows) => rows.includes("look"));
  await looker.getByText("it stays as it was").waitFor();
  assert.equal(await looker.getByRole("button", { name: "Go on from here" }).count(), 0);

  const taker = await openPage(browser, taking);
  await thenWhere(taker, (rows) => rows.includes("look"));
  const momentUrl = taker.url();
  await taker.getByRole("button", { name: "Go on from here" }).click();
  await taker.waitForURL((url) => url.href !== momentUrl);
  await pictureWhere(taker, hasPrompt);
  await typeLine(taker, "clear; echo $state");
  await pictureWhere(taker, (rows) => rows[0] === "mine" && hasPrompt(rows));
  // Nobody else's machine has heard of it.
  await pictureWhere(owner, (rows) => rows[0] === "later");

  // It is still there when its machine is not.
  await owner.goto(home.origin);
  const name = new URL(machineUrl).pathname.split("/").at(-1);
  await owner.getByRole("button", { name: `What to do with ${name}` }).click();
  await owner.getByRole("button", { name: "Delete" }).click();
  await owner.getByRole("button", { name: /^Save, stop and delete\?/ }).click();
  await owner.getByRole("link", { name, exact: true }).waitFor({ state: "detached" });
  const later = await openPage(browser, looking, PHONE);
  await thenWhere(later, (rows) => rows.includes("look") && !rows.includes("later"));

  await owner.getByText("a moment", { exact: true }).first().waitFor();
  for (const page of [owner, looker, taker, later]) assert.deepEqual(page.complaints, []);
});

test("a moment goes out as a file, and comes back", async () => {
  const moment = await owner.evaluate(async () => {
    const { items } = await (await fetch("/api/machines")).json();
    const moments = items.filter(({ frozen }) => frozen);
    return moments.sort((a, b) => b.branch_of.at_ns - a.branch_of.at_ns)[0];
  });
  await owner.goto(new URL(`/m/${moment.id}`, home.origin).href);
  await thenWhere(owner, (rows) => rows.includes("look"));
  await owner.getByRole("button", { name: "Download", exact: true }).click();
  // What goes out is said first, and looked through.
  const dialog = owner.getByRole("dialog", { name: `Download ${moment.name}` });
  await dialog.getByText(/of memory/).waitFor();
  const seek = async (text) => {
    await dialog.getByRole("textbox", { name: "A text that must not be in it" }).fill(text);
    await dialog.getByRole("button", { name: "Look for it" }).click();
  };
  await seek("nowhere-to-be-found");
  await dialog.getByText("“nowhere-to-be-found” is not in").waitFor();
  await seek("state=mine");
  await dialog.getByText(/“state=mine” is in it: .*shown.*in memory/).waitFor();
  const [download] = await Promise.all([
    owner.waitForEvent("download"),
    dialog.getByRole("link", { name: /^Download it/ }).click(),
  ]);
  assert.equal(download.suggestedFilename(), `${moment.id}.vmcast`);
  const copy = join(await mkdtemp(join(tmpdir(), "stackvm-copy-")), "As it was.vmcast");
  await download.saveAs(copy);
  await closeDialog(owner);
  // Programs of this computer take it.
  assert.match(home.run("cast", "verify", copy), /\S/);
  const about = JSON.parse(home.run("cast", "info", "--json", copy));
  assert.ok(about, "it is told what is in it");

  await owner.goto(home.origin);
  await owner.getByLabel("Upload a recording").setInputFiles(copy);
  await owner.waitForURL((url) => url.pathname === "/m/as-it-was");
  await thenWhere(owner, (rows) => rows.includes("look"));
  await owner.getByRole("button", { name: "Break in" }).click();
  await pictureWhere(owner, hasPrompt);
  await typeLine(owner, "clear; echo $state");
  await pictureWhere(owner, (rows) => rows[0] === "mine" && hasPrompt(rows));
  await rm(dirname(copy), { recursive: true });
  assert.deepEqual(owner.complaints, []);
});
