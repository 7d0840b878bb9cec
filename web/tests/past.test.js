// A machine's time: the strip, what was on the glass, breaking in and coming back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { scene } from "./scene.js";
import {
  caughtUp,
  clearScreen,
  enterLine,
  hasPrompt,
  openPage,
  PHONE,
  pictureWhere,
  reached,
  share,
  thenWhere,
  typeLine,
  within,
} from "./stackvm.js";

const { browser, home, owner, machineUrl } = await scene();

const needle = (page) => page.getByRole("slider", { name: "Instant shown" });
const strip = (page) => page.getByRole("region", { name: "Timeline" });
const says = async (page) => needle(page).getAttribute("aria-valuetext");

async function atMachine() {
  owner.complaints.length = 0;
  await owner.goto(machineUrl);
  await clearScreen(owner);
}

test("what was is dragged to while the machine runs on", async () => {
  await atMachine();
  await typeLine(owner, "echo first");
  await pictureWhere(owner, (rows) => rows.includes("first") && hasPrompt(rows));
  const first = await reached(owner);
  // For so long that the strip's end is well within it.
  await typeLine(owner, "clear; echo second; sleep 1");
  await pictureWhere(owner, (rows) => rows.includes("second") && hasPrompt(rows));
  const other = await openPage(browser, (await share(owner)).typing);
  await owner.getByRole("dialog").getByRole("button", { name: "Close", exact: true }).click();
  await pictureWhere(other, hasPrompt);

  await caughtUp(owner);
  const { x, y, width, height } = await strip(owner).locator(".lane").boundingBox();
  await owner.mouse.move(x + width - 2, y + height / 2);
  await owner.mouse.down();
  await thenWhere(owner, (rows) => rows.includes("second"));
  await owner.mouse.move(x, y + height / 2, { steps: 40 });
  await owner.mouse.up();
  await thenWhere(owner, (rows) => rows.some((row) => row.includes("BusyBox")));
  assert.match(await says(owner), /before live$/);
  assert.match(owner.url(), /\?t=\d+(\.\d+)?$/);
  await owner.goto(`${machineUrl}?t=${first / 1e9}`);
  await thenWhere(owner, (rows) => rows.includes("first") && !rows.includes("second"));

  // Nobody else's page moved, and what is typed here now goes nowhere.
  await owner.keyboard.type("nowhere");
  await typeLine(other, "echo meanwhile");
  await pictureWhere(other, (rows) => rows.includes("meanwhile") && hasPrompt(rows));
  // Another page moves if it follows, or is brought.
  // (The link begins after it said first: who has it is led to where it begins.)
  assert.equal(await says(other), "live");
  await other.getByRole("button", { name: /^People/ }).click();
  await other.getByRole("button", { name: /^What to do with/ }).click();
  await other.getByRole("button", { name: /^Follow/ }).click();
  await thenWhere(other, (rows) => rows.includes("second") && !rows.includes("meanwhile"));
  await other.getByRole("button", { name: "LIVE", exact: true }).click();
  await strip(other).getByText("follows").waitFor({ state: "detached" });
  await owner.getByRole("button", { name: "Bring everyone here" }).click();
  await thenWhere(other, (rows) => rows.includes("second") && !rows.includes("meanwhile"));
  assert.match(await says(other), /before live$/);
  await other.getByText(/brought you to 00:0/).waitFor();
  await other.getByRole("button", { name: "LIVE", exact: true }).click();

  await owner.getByRole("button", { name: "LIVE", exact: true }).click();
  const live = await pictureWhere(owner, (rows) => rows.includes("meanwhile"));
  assert.ok(!live.join("\n").includes("nowhere"), live.join("\n"));
  assert.equal(await says(owner), "live");
  assert.equal(owner.url(), machineUrl);
  assert.deepEqual(owner.complaints, []);
});

test("the needle is moved with the keyboard, and time is played", async () => {
  await atMachine();
  await needle(owner).focus();
  await owner.keyboard.press("Home");
  await thenWhere(owner, (rows) => rows.some((row) => row.includes("BusyBox")));
  assert.equal(await needle(owner).getAttribute("aria-valuenow"), "0");
  await owner.keyboard.press("PageUp");
  assert.ok(Number(await needle(owner).getAttribute("aria-valuenow")) >= 70);
  await owner.keyboard.press("Shift+ArrowLeft");
  const place = Number(await needle(owner).getAttribute("aria-valuenow"));
  await owner.getByRole("button", { name: /^Speed/ }).click();
  await owner.getByRole("button", { name: /^Speed/ }).click();
  await owner.getByRole("button", { name: "Play" }).click();
  const isBehind = (place) =>
    Number(document.querySelector('[role="slider"]').getAttribute("aria-valuenow")) > place;
  await owner.waitForFunction(isBehind, place + 20);
  await owner.getByRole("button", { name: "Pause" }).click();
  await needle(owner).focus();
  await owner.keyboard.press("End");
  assert.equal(await says(owner), "live");
  assert.deepEqual(owner.complaints, []);
});

test("what is said of an instant leads there", async () => {
  await atMachine();
  await typeLine(owner, "echo culprit");
  await pictureWhere(owner, (rows) => rows.includes("culprit") && hasPrompt(rows));
  const then = await reached(owner);
  await typeLine(owner, "clear; echo innocent; sleep 1");
  await pictureWhere(owner, (rows) => rows.includes("innocent") && hasPrompt(rows));
  await owner.goto(`${machineUrl}?t=${then / 1e9}`);
  await thenWhere(owner, (rows) => rows.includes("culprit"));
  await owner.getByRole("button", { name: "Chat", exact: true }).click();
  await owner.getByPlaceholder(/^Say something about 00:0/).fill("here it broke");
  await owner.keyboard.press("Enter");
  await owner.getByText("here it broke", { exact: true }).waitFor();
  await owner.getByRole("button", { name: "LIVE", exact: true }).click();
  await pictureWhere(owner, (rows) => rows.includes("innocent"));
  // From the strip, and from the chat.
  await owner.getByRole("button", { name: /^Said about 00:0.*: here it broke/ }).click();
  await thenWhere(owner, (rows) => rows.includes("culprit") && !rows.includes("innocent"));
  await owner.getByRole("button", { name: "LIVE", exact: true }).click();
  await owner.getByRole("log").getByRole("button", { name: /^Go to 00:0/ }).click();
  await thenWhere(owner, (rows) => rows.includes("culprit") && !rows.includes("innocent"));
  const side = owner.getByRole("complementary");
  await side.getByRole("button", { name: "Close", exact: true }).click();
  assert.deepEqual(owner.complaints, []);
});

test("what was ever shown is found, and leads to its instant", async () => {
  await atMachine();
  await typeLine(owner, "echo need''le");
  await pictureWhere(owner, (rows) => rows.includes("needle") && hasPrompt(rows));
  await clearScreen(owner);
  await typeLine(owner, "echo hay");
  await pictureWhere(owner, (rows) => rows.includes("hay") && hasPrompt(rows));
  await owner.getByRole("button", { name: "Search everything that was shown" }).click();
  const search = strip(owner).getByRole("search");
  const sought = search.getByRole("textbox", { name: "Text that was on a terminal" });
  await sought.fill("nowhere <b>");
  await owner.keyboard.press("Enter");
  await strip(owner).getByText("“nowhere <b>” was on none of its terminals.").waitFor();
  await sought.fill("NEEDLE");
  await owner.keyboard.press("Enter");
  await strip(owner).getByText("1 line with “NEEDLE”").waitFor();
  await strip(owner).getByRole("button", { name: /needle$/ }).click();
  await thenWhere(owner, (rows) => rows.includes("needle") && !rows.includes("hay"));
  await sought.focus();
  await owner.keyboard.press("Escape");
  assert.equal(await search.count(), 0);
  await owner.getByRole("button", { name: "LIVE", exact: true }).click();
  await pictureWhere(owner, (rows) => rows.includes("hay"));
  assert.deepEqual(owner.complaints, []);
});

test("undo goes to just before the last Enter", async () => {
  await atMachine();
  await enterLine(owner, "echo one");
  await pictureWhere(owner, (rows) => rows.includes("one") && hasPrompt(rows));
  await enterLine(owner, "echo two");
  await pictureWhere(owner, (rows) => rows.includes("two") && hasPrompt(rows));
  await caughtUp(owner);
  await owner.keyboard.press("Control+Alt+z");
  await thenWhere(owner, (rows) => rows.at(-1) === "root@tiny:~# echo two");
  await owner.keyboard.press("Control+Alt+z");
  await thenWhere(owner, (rows) => rows.at(-1) === "root@tiny:~# echo one");
  // A line says when it was printed, and after what.
  await owner.getByRole("button", { name: "To before the next Enter" }).click();
  await thenWhere(owner, (rows) => rows.at(-1) === "root@tiny:~# echo two");
  // Who stays there is shown what a replay computed.
  await owner.getByText(/ · exactly$/).waitFor();
  // What xterm.js draws lies under what it is pressed on.
  const line = owner.getByRole("region", { name: "The terminal then" }).getByText("one", { exact: true });
  const box = await line.boundingBox();
  await owner.mouse.click(box.x + 4, box.y + box.height / 2);
  const card = owner.getByRole("status", { name: "About this line" });
  await card.getByText(/^Printed at 00:0.*,\s+after .* entered echo one\.$/).waitFor();
  await card.getByRole("button", { name: "Go there" }).click();
  await thenWhere(owner, (rows) => rows.includes("one") && !rows.at(-1).includes("two"));
  assert.equal(await card.count(), 0);
  await owner.keyboard.press("Control+Alt+z");
  await thenWhere(owner, (rows) => rows.at(-1) === "root@tiny:~# echo one");
  await owner.getByRole("button", { name: "To before the next Enter" }).click();
  await thenWhere(owner, (rows) => rows.at(-1) === "root@tiny:~# echo two");
  await owner.getByRole("button", { name: "To before the next Enter" }).click();
  assert.equal(await says(owner), "live");
  // The machine has heard nothing of it.
  await pictureWhere(owner, (rows) => rows.includes("two") && hasPrompt(rows));
  assert.deepEqual(owner.complaints, []);
});

test("a broken machine is broken into before it broke", async () => {
  await atMachine();
  await typeLine(owner, "state=alive");
  await pictureWhere(owner, (rows) => rows.length === 2 && hasPrompt(rows));
  const before = await reached(owner);
  await typeLine(owner, "clear; rm -rf /bin /sbin /usr /lib; /bin/ls");
  await pictureWhere(owner, (rows) => rows.some((row) => row.includes("not found")));
  // A link to an instant leads there.
  await owner.goto(`${machineUrl}?t=${before / 1e9}`);
  await thenWhere(owner, (rows) => rows.at(-2)?.endsWith("state=alive") === true);
  await within(1000, "breaking in until its own prompt echoes", async () => {
    await owner.getByRole("button", { name: "Break in" }).click();
    await owner.waitForURL((url) => url.pathname !== new URL(machineUrl).pathname);
    await pictureWhere(owner, hasPrompt);
    await owner.keyboard.type("#");
    await pictureWhere(owner, (rows) => rows.at(-1)?.endsWith("# #") === true);
  });
  await owner.keyboard.press("Backspace");
  await typeLine(owner, "clear; echo $state; ls -d /usr");
  await pictureWhere(owner, (rows) => rows.includes("alive") && rows.includes("/usr"));
  await strip(owner).getByText("a branch of").waitFor();

  // What became of both, side by side.
  await owner.getByRole("button", { name: "Compare" }).click();
  const beside = owner.getByRole("dialog");
  await beside.getByText(/not found$/).waitFor();
  await beside.getByText("alive", { exact: true }).waitFor();
  await beside.getByRole("button", { name: "Close" }).click();

  await owner.getByRole("link", { name: "Return" }).click();
  await owner.waitForURL(machineUrl);
  await pictureWhere(owner, (rows) => rows.some((row) => row.includes("not found")));
  // The dead future is still there, and the branch is on its strip, called by its last command.
  const rail = strip(owner).getByRole("link", { name: "clear; echo $state; ls -d /usr" });
  await rail.click();
  await pictureWhere(owner, (rows) => rows.includes("alive"));
  // It is kept by a name, or thrown away.
  await owner.getByRole("button", { name: "Keep", exact: true }).click();
  const name = owner.getByRole("textbox", { name: "Name of the branch" });
  assert.equal(await name.inputValue(), "clear-echo-state-ls-d-usr");
  await name.fill("saved");
  await owner.keyboard.press("Enter");
  await owner.getByRole("heading", { name: "saved" }).waitFor();
  assert.equal(await owner.getByRole("button", { name: "Keep", exact: true }).count(), 0);
  await owner.getByRole("button", { name: "Discard" }).click();
  await owner.waitForURL((url) => url.pathname === new URL(machineUrl).pathname);
  await thenWhere(owner, (rows) => rows.at(-2)?.endsWith("state=alive") === true);
  const isGone = async () =>
    (await (await fetch("/api/machines?limit=500")).json()).items.every(({ name }) => name !== "saved");
  await owner.waitForFunction(isGone);
  assert.deepEqual(owner.complaints, []);
});

test("a link that begins now shows nothing of what was before", async () => {
  await owner.goto(machineUrl);
  await pictureWhere(owner, hasPrompt);
  await typeLine(owner, "clear; echo before");
  await pictureWhere(owner, (rows) => rows[0] === "before" && hasPrompt(rows));
  const { watching } = await share(owner);
  await owner.getByRole("dialog").getByRole("button", { name: "Close", exact: true }).click();
  const since = await reached(owner);
  await typeLine(owner, "clear; echo after");
  await pictureWhere(owner, (rows) => rows[0] === "after" && hasPrompt(rows));

  const guest = await openPage(browser, watching, PHONE);
  await pictureWhere(guest, (rows) => rows[0] === "after");
  await guest.locator(".strip[aria-busy=false]").waitFor();
  await needle(guest).focus();
  const [answer] = await Promise.all([
    guest.waitForResponse((response) => response.url().includes("/picture?")),
    guest.keyboard.press("Home"),
  ]);
  const picture = await answer.json();
  assert.ok(picture.at_ns >= since, `${picture.at_ns}, the link was made at ${since}`);
  // The screen as it stood then is all that there is of it.
  await thenWhere(guest, (rows) => rows[0] === "before");
  assert.equal(await guest.getByRole("button", { name: "Break in" }).count(), 0);
  assert.deepEqual(guest.complaints, []);
});
