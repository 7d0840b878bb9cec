import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { launch, openPage, picture, pictureWhere, Scripted, typeLine } from "./scripted.js";

let browser;
let server;
before(async () => (browser = await launch()));
after(() => browser.close());
beforeEach(async () => (server = await Scripted.start()));
afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
  await server.stop();
});

const hasPrompt = (rows) => rows.at(-1) === "/ #";

test("a link with its token leads to the prompt", async () => {
  await server.boot();
  const page = await openPage(browser, server.url);
  await pictureWhere(page, hasPrompt);
  assert.equal(new URL(page.url()).hash, "");
  assert.equal(await page.title(), "tiny · StackVM");
  await typeLine(page, "uname -m");
  const rows = await pictureWhere(page, (rows) =>
    rows.some((row) => row.includes("riscv64 GNU/Linux")),
  );
  assert.equal(rows[0], "/ # uname -m");
  assert.deepEqual(page.complaints, []);
});

test("colours of all kinds are drawn under the page's policy", async () => {
  await server.boot();
  await server.order("output \\e[38;2;1;2;3mtrue\\e[38;5;200mindexed\\e[31mnamed\\e[0m");
  const page = await openPage(browser, server.url);
  await pictureWhere(page, (rows) => rows.at(-1)?.endsWith("trueindexednamed"));
  const colours = await page.evaluate(() =>
    [...document.querySelectorAll('section[aria-label="Terminal"] .xterm-rows span')]
      .filter((span) => /^(?:true|indexed|named)$/.test(span.textContent))
      .map((span) => getComputedStyle(span).color),
  );
  assert.deepEqual(colours, ["rgb(1, 2, 3)", "rgb(255, 0, 215)", "rgb(239, 128, 105)"]);
  assert.deepEqual(page.complaints, []);
});

test("the preparation turns into the terminal by itself", async () => {
  const page = await openPage(browser, server.url);
  await server.order("progress downloading 3000000 12000000 linux-image-6.12.48+deb13-riscv64");
  const bar = page.getByRole("progressbar", { name: "downloading" });
  await bar.waitFor();
  assert.equal(await bar.getAttribute("aria-valuenow"), "25");
  await page.getByText("3.0 MB of 12.0 MB").waitFor();
  await page.getByText("linux-image-6.12.48+deb13-riscv64").waitFor();
  await server.order("progress packing 10 0");
  await page.getByRole("progressbar", { name: "packing" }).waitFor();
  await page.getByText("12.0 MB done").waitFor();
  await server.order("ready");
  await page.getByText("Booting.").waitFor();
  await server.order("prompt");
  await page.locator('[data-state="running"]').waitFor();
  await pictureWhere(page, hasPrompt);
  assert.deepEqual(page.complaints, []);
});

test("a failure says what happened and what to do, and can be tried again", async () => {
  const page = await openPage(browser, server.url);
  await server.order("fail could not reach the mirror|Check the network, then try again.");
  await page.getByText("could not reach the mirror").waitFor();
  await page.getByText("Check the network, then try again.").waitFor();
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText("Looking at what is there.").waitFor();
  await server.boot();
  await pictureWhere(page, hasPrompt);
});

test("every browser on a machine sees the same bytes", async () => {
  await server.boot();
  const first = await openPage(browser, server.url);
  await pictureWhere(first, hasPrompt);
  await typeLine(first, "echo one");
  const second = await openPage(browser, await server.order("link"));
  const isOne = (rows) => rows.includes("one");
  assert.deepEqual(await pictureWhere(second, isOne), await pictureWhere(first, isOne));
  await typeLine(second, "echo two");
  const isTwo = (rows) => rows.includes("two") && hasPrompt(rows);
  assert.deepEqual(await pictureWhere(first, isTwo), await pictureWhere(second, isTwo));
});

test("the machine's size is of whoever typed last", async () => {
  await server.boot();
  const large = await openPage(browser, server.url, { viewport: { width: 1400, height: 900 } });
  await pictureWhere(large, hasPrompt);
  const small = await openPage(browser, await server.order("link"), {
    viewport: { width: 700, height: 500 },
  });
  await pictureWhere(small, hasPrompt);
  const shown = (page) => page.locator("main .size .mono").innerText();
  await small.getByText("the window of whoever typed last").waitFor();
  const largeSize = await shown(large);
  assert.equal(await shown(small), largeSize);

  await typeLine(small, "stty size");
  await large.getByText("the window of whoever typed last").waitFor();
  await small.getByText("the window of whoever typed last").waitFor({ state: "detached" });
  const smallSize = await shown(small);
  assert.notEqual(smallSize, largeSize);
  assert.equal(await shown(large), smallSize);
  const [columns, rows] = smallSize.split("×");
  await pictureWhere(small, (picture) => picture.includes(`${rows} ${columns}`));
  // A larger window changes the machine only when its owner typed last.
  await small.setViewportSize({ width: 900, height: 500 });
  await small.waitForFunction(
    (old) => document.querySelector(".size .mono").textContent !== old,
    smallSize,
  );
  await large.getByText(await shown(small), { exact: true }).waitFor();
});

test("a used link is refused to others and does no harm to who is in", async () => {
  await server.boot();
  const page = await openPage(browser, server.url);
  await pictureWhere(page, hasPrompt);
  const stranger = await openPage(browser, server.url);
  await stranger.getByRole("heading", { name: "This browser needs a new link" }).waitFor();
  const again = await page.context().newPage();
  await again.goto(server.url);
  await pictureWhere(again, hasPrompt);
  await again.goto(`${server.origin}/`);
  await pictureWhere(again, hasPrompt);
});

test("the page gives a link for another browser", async () => {
  await server.boot();
  const page = await openPage(browser, server.url);
  await pictureWhere(page, hasPrompt);
  await page.getByRole("button", { name: "Another browser" }).click();
  const link = await page.getByRole("textbox", { name: "Link" }).inputValue();
  assert.match(link, /^http:\/\/localhost:\d+\/#[0-9a-f]{64}$/);
  await pictureWhere(await openPage(browser, link), hasPrompt);
});

test("a lost connection comes back by itself, with nothing lost and nothing doubled", async () => {
  await server.boot();
  const page = await openPage(browser, server.url);
  await pictureWhere(page, hasPrompt);
  await typeLine(page, "echo before");
  await pictureWhere(page, (rows) => rows.includes("before") && hasPrompt(rows));
  await server.order("drop");
  await typeLine(page, "echo after");
  const rows = await pictureWhere(page, (rows) => rows.includes("after") && hasPrompt(rows));
  assert.deepEqual(rows, ["/ # echo before", "before", "/ # echo after", "after", "/ #"]);
});

test("a server that is gone is said in words, over the picture", async () => {
  await server.boot();
  const page = await openPage(browser, server.url);
  await pictureWhere(page, hasPrompt);
  await server.stop();
  await page.getByText("Connection lost.").first().waitFor();
  assert.deepEqual(await picture(page), ["/ #"]);
  await typeLine(page, "ls");
  await page.getByText("3 keys are kept and will be sent").waitFor();
  // Another server has the port: its machine is not the one that was typed at.
  server = await Scripted.start(new URL(server.url).port);
  await page.getByRole("heading", { name: "This browser needs a new link" }).waitFor();
});

test("the kernel's log is one press away", async () => {
  await server.boot();
  const page = await openPage(browser, server.url);
  await pictureWhere(page, hasPrompt);
  await page.getByRole("button", { name: "kernel log" }).click();
  await pictureWhere(page, (rows) => rows[0]?.includes("Linux version"), "Kernel log");
  await page.getByRole("button", { name: "console" }).click();
  await typeLine(page, "echo back");
  await pictureWhere(page, (rows) => rows.includes("back"));
});

test("a machine that is off keeps its picture and can be started", async () => {
  await server.boot();
  const page = await openPage(browser, server.url);
  await pictureWhere(page, hasPrompt);
  await page.getByRole("button", { name: "Power off", exact: true }).click();
  await page.getByRole("button", { name: "Power off?" }).click();
  await page.getByText("The machine is off: the guest switched it off.").waitFor();
  assert.deepEqual(await picture(page), ["/ #"]);
  await page.getByRole("button", { name: "Start" }).click();
  await page.getByText("Booting.").waitFor();
  assert.deepEqual(await pictureWhere(page, (rows) => rows.length === 0), []);
  await server.order("prompt");
  await pictureWhere(page, hasPrompt);
});

test("only one page answers the machine's questions, and never those of the past", async () => {
  await server.boot();
  // Where is the cursor? The scripted shell shows what it is sent.
  await server.order("output \\e[6n\\e[c");
  const first = await openPage(browser, server.url);
  await pictureWhere(first, hasPrompt);
  const second = await openPage(browser, await server.order("link"));
  await pictureWhere(second, hasPrompt);
  await typeLine(first, "echo asked");
  await pictureWhere(second, (rows) => rows.includes("asked") && hasPrompt(rows));
  await server.order("output \\e[5n");
  await typeLine(first, "");
  // The answer is ESC [ 0 n; the shell takes it for a word.
  const rows = await pictureWhere(first, (rows) => rows.some((row) => row.includes("not found")));
  assert.equal(rows.filter((row) => row.includes("not found")).length, 1);
  assert.deepEqual(rows.slice(0, 2), ["/ # echo asked", "asked"]);
});

test("more output than a page can draw leaves it alive and current", async () => {
  await server.boot();
  const page = await openPage(browser, server.url);
  await pictureWhere(page, hasPrompt);
  await server.order("flood 60000000");
  await server.order("output \\nthe end\\n");
  await server.order("prompt");
  await pictureWhere(page, (rows) => rows.includes("the end") && hasPrompt(rows));
  assert.deepEqual(page.complaints, []);
});

test("copy and paste have the keys of terminals", async () => {
  await server.boot();
  const page = await openPage(browser, server.url, {
    permissions: ["clipboard-read", "clipboard-write"],
  });
  await pictureWhere(page, hasPrompt);
  await typeLine(page, "echo copied");
  await pictureWhere(page, (rows) => rows.includes("copied") && hasPrompt(rows));
  const row = page.locator('section[aria-label="Terminal"] .xterm-rows > div').nth(1);
  // The mouse belongs to a layer above the rows.
  await row.dblclick({ position: { x: 12, y: 8 }, force: true });
  await page.keyboard.press("Control+Shift+C");
  await page.waitForFunction(async () => (await navigator.clipboard.readText()) === "copied");
  await page.keyboard.press("Control+Shift+V");
  await pictureWhere(page, (rows) => rows.at(-1) === "/ # copied");
});

test("a phone has the keys that its keyboard lacks", async () => {
  await server.boot();
  const page = await openPage(browser, server.url, {
    viewport: { width: 390, height: 844 },
    hasTouch: true,
  });
  await pictureWhere(page, hasPrompt);
  await page.getByRole("button", { name: "Slash" }).tap();
  await page.getByRole("button", { name: "Bar" }).tap();
  await pictureWhere(page, (rows) => rows.at(-1) === "/ # /|");
  const ctrl = page.getByRole("button", { name: "Ctrl, with the next key" });
  await ctrl.tap();
  assert.equal(await ctrl.getAttribute("aria-pressed"), "true");
  await page.keyboard.type("m");
  // Ctrl-M is Enter.
  await pictureWhere(page, (rows) => rows.some((row) => row.includes("not found")));
  assert.equal(await ctrl.getAttribute("aria-pressed"), "false");
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
});
