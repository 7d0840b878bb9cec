// Recordings: a part of a machine's past that is kept, published, framed, gone on from.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { scene } from "./scene.js";
import {
  caughtUp,
  clearScreen,
  closeDialog,
  hasPrompt,
  openPage,
  otherSite,
  PHONE,
  pictureWhere,
  thenWhere,
  typeLine,
} from "./stackvm.js";

const { browser, owner, machineUrl } = await scene();
const needle = (page) => page.getByRole("slider", { name: "Instant shown" });
const isShown = (line) => (rows) => rows.includes(line) && hasPrompt(rows);

test("a part of the past is kept, looked at, and gone on from", async () => {
  await typeLine(owner, "echo token-12345");
  await pictureWhere(owner, isShown("token-12345"));
  await clearScreen(owner);
  await typeLine(owner, "state=mine; echo lesson");
  await pictureWhere(owner, isShown("lesson"));
  await caughtUp(owner);
  await owner.getByRole("button", { name: "Keep a recording" }).click();
  const form = owner.getByRole("form", { name: "New recording" });
  await owner.getByRole("button", { name: "To before the last Enter" }).click();
  await thenWhere(owner, (rows) => rows.at(-1) === "root@tiny:~# state=mine; echo lesson");
  await form.getByRole("button", { name: "Begin it here" }).click();
  await owner.getByRole("button", { name: "LIVE", exact: true }).click();
  await form.getByRole("textbox", { name: "Name of the recording" }).fill("Lesson!");
  await form.getByRole("button", { name: "Keep it" }).click();

  await owner.waitForURL((url) => url.href !== machineUrl && url.pathname.startsWith("/m/"));
  await owner.getByText("a recording", { exact: true }).first().waitFor();
  await thenWhere(owner, (rows) => rows.length === 1 && rows[0]?.endsWith("echo lesson") === true);
  assert.equal(await owner.getByRole("button", { name: "LIVE", exact: true }).count(), 0);
  await needle(owner).press("PageDown");
  await needle(owner).press("Home");
  await owner.getByRole("button", { name: "Play", exact: true }).click();
  await thenWhere(owner, isShown("lesson"));
  await owner.getByRole("button", { name: "Break in" }).click();
  await pictureWhere(owner, hasPrompt);
  await typeLine(owner, "clear; echo $state");
  await pictureWhere(owner, (rows) => rows[0] === "mine" && hasPrompt(rows));
  assert.deepEqual(owner.complaints, []);
});

/** Switches the machine of the owner's page. */
const power = (action) =>
  owner.evaluate(
    async ([id, action]) => {
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify({ action });
      const answer = await fetch(`/api/machines/${id}/power`, { method: "POST", headers, body });
      if (!answer.ok) throw new Error(await answer.text());
    },
    [new URL(owner.url()).pathname.split("/").at(-1), action],
  );

test("it is published, found by strangers, framed, and taken back", async () => {
  await owner.goto(new URL("/", machineUrl).href);
  await owner.getByRole("link", { name: "lesson", exact: true }).click();
  await owner.getByRole("button", { name: "Publish", exact: true }).click();
  const dialog = owner.getByRole("dialog", { name: "Publish lesson" });
  await dialog.getByText(/of memory/).waitFor();
  const seek = async (text) => {
    await dialog.getByRole("textbox", { name: "A text that must not be in it" }).fill(text);
    await dialog.getByRole("button", { name: "Look for it" }).click();
  };
  await seek("nowhere-to-be-found");
  await dialog.getByText("“nowhere-to-be-found” is not in").waitFor();
  // What was typed before is not in what was typed; the shell still has it in its memory.
  await seek("token-12345");
  await dialog.getByText(/“token-12345” is in it: (?!.*was typed).*in memory/).waitFor();
  const form = dialog.getByRole("form", { name: "Publication" });
  await form.getByLabel("Title").fill("A <lesson>");
  await form.getByLabel("What it shows").fill("How to say it.");
  await form.getByLabel("Tags").fill("class, echo");
  await form.getByRole("radio", { name: "Public", exact: true }).check();
  await form.getByRole("radio", { name: "Go on from it" }).check();
  await form.getByRole("button", { name: "Publish" }).click();
  const address = await dialog.getByRole("textbox", { name: "Address" }).inputValue();
  const markdown = await dialog.getByRole("textbox", { name: "Markdown" }).inputValue();
  const snippet = await dialog.getByRole("textbox", { name: "Embed code" }).inputValue();
  assert.ok(markdown.includes(`](${address})`) && markdown.includes("/poster.svg"), markdown);
  await closeDialog(owner);

  // A stranger finds it in the list, on a phone, and goes on from it.
  const stranger = await openPage(browser, new URL("/r", address).href, PHONE);
  await stranger.getByRole("link", { name: "A <lesson>" }).click();
  await stranger.getByText("How to say it.").waitFor();
  await thenWhere(stranger, (rows) => rows[0]?.endsWith("echo lesson") === true);
  await needle(stranger).press("End");
  await thenWhere(stranger, isShown("lesson"));
  assert.match(stranger.url(), /\/r\/[0-9a-f]{16}\?t=/);
  await stranger.getByRole("button", { name: "Break in" }).click();
  await pictureWhere(stranger, hasPrompt);
  await typeLine(stranger, "clear; echo $state");
  await pictureWhere(stranger, (rows) => rows[0] === "mine" && hasPrompt(rows));

  // Without scripts the page still says what it is.
  const reader = await openPage(browser, address, { javaScriptEnabled: false });
  await reader.getByRole("heading", { name: "A <lesson>" }).waitFor();
  assert.match(await reader.locator("pre").innerText(), /state=mine; echo lesson\nlesson/);
  await reader.waitForFunction(() => document.querySelector("img").naturalWidth > 100);

  // On another site it plays in a frame.
  const blog = await openPage(browser, await otherSite(snippet));
  const frame = blog.frameLocator("iframe");
  await frame.getByRole("button", { name: "Play" }).click();
  await frame.getByText("lesson", { exact: true }).first().waitFor();
  for (const page of [owner, stranger, blog]) assert.deepEqual(page.complaints, []);

  // The file that is downloaded comes back as another one, and its machine goes on.
  await owner.getByRole("button", { name: "Publish", exact: true }).click();
  const [download] = await Promise.all([
    owner.waitForEvent("download"),
    dialog.getByRole("link", { name: /^Download it/ }).click(),
  ]);
  assert.equal(download.suggestedFilename(), "lesson.vmcast");
  const copy = join(await mkdtemp(join(tmpdir(), "stackvm-copy-")), "From a friend.vmcast");
  await download.saveAs(copy);
  // Its film is for others: what was shown, and nothing that was typed.
  const [film] = await Promise.all([
    owner.waitForEvent("download"),
    dialog.getByRole("link", { name: /^Its film only/ }).click(),
  ]);
  assert.equal(film.suggestedFilename(), "lesson.cast");
  const [head, ...events] = (await readFile(await film.path(), "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  assert.deepEqual([head.version, head.title], [3, "lesson"]);
  assert.ok(head.term.cols > 0 && head.term.rows > 0, JSON.stringify(head));
  assert.match(events[0][2], /state=mine; echo lesson/);
  assert.ok(events.some(([, code, text]) => code === "o" && /^\r?\n?lesson\r\n/.test(text)));
  assert.ok(events.every(([after, code]) => after >= 0 && code !== "i"), JSON.stringify(events));
  await closeDialog(owner);
  const lesson = owner.url();
  await owner.goto(new URL("/", machineUrl).href);
  await owner.getByLabel("Upload a recording").setInputFiles(copy);
  await owner.waitForURL((url) => url.pathname === "/m/from-a-friend");
  await thenWhere(owner, (rows) => rows[0]?.endsWith("echo lesson") === true);
  await needle(owner).press("End");
  await thenWhere(owner, isShown("lesson"));
  await owner.getByRole("button", { name: "Break in" }).click();
  await pictureWhere(owner, hasPrompt);
  await typeLine(owner, "clear; echo $state");
  await pictureWhere(owner, (rows) => rows[0] === "mine" && hasPrompt(rows));
  // Its own journal has all that it boots from.
  await power("kill");
  await owner.getByRole("button", { name: "Start", exact: true }).click();
  await pictureWhere(owner, (rows) => rows.some((row) => row.includes("BusyBox")) && hasPrompt(rows));
  await rm(dirname(copy), { recursive: true });

  await owner.goto(lesson);
  await owner.getByRole("button", { name: "Publish", exact: true }).click();
  await form.getByRole("radio", { name: "Private" }).check();
  await form.getByRole("button", { name: "Keep it private" }).click();
  await dialog.getByRole("region", { name: "Where it is" }).waitFor({ state: "detached" });
  await closeDialog(owner);
  const late = await openPage(browser, address);
  await late.getByText("There is no such recording").waitFor();
});
