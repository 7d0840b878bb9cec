// The pages in the other two engines: Firefox, and WebKit, which is what phones from Apple have. A
// short story in each; everything else is tested in Chromium.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Firefox, WebKit } from "./drivers.js";
import { hasPrompt, Home } from "./stackvm.js";

/** For the whole story, the browser's start included. */
const STORY_MS_MAX = 30_000;
const TERMINAL = 'section[aria-label="Terminal"]';

let home;
before(async () => {
  home = await Home.make();
  await home.up();
});
after(() => home.remove());

/** Waits until an expression's value satisfies `wanted`, and returns it. */
async function when(browser, expression, wanted) {
  const end = Date.now() + STORY_MS_MAX;
  for (;;) {
    const value = await browser.evaluate(expression);
    if (wanted(value)) return value;
    if (Date.now() > end) throw new Error(`not seen in time; it is ${JSON.stringify(value)}`);
  }
}

const ROWS = `[...document.querySelectorAll('${TERMINAL} .xterm-rows > div')]
  .map((row) => row.innerText.replaceAll("\\u00a0", " ").trimEnd())
  .filter((row) => row !== "")`;
const pictureWhere = (browser, wanted) => when(browser, ROWS, wanted);

async function typeLine(browser, line) {
  for (const key of line) await browser.press(key);
  await browser.press("Enter");
}

const BACKGROUND = "getComputedStyle(document.body).backgroundColor";

function check(name, launch, goOn = async () => {}) {
  test(`${name}: a link, a prompt, typing and its echo, light and dark`, async () => {
    const start = Date.now();
    const browser = await launch();
    try {
      await story(browser);
      await goOn(browser);
      assert.deepEqual(await browser.complaints(), []);
    } finally {
      await browser.close();
    }
    const took = Date.now() - start;
    assert.ok(took < STORY_MS_MAX, `${took} ms`);
  });
}

async function story(browser) {
  await browser.goto(home.run("open", "--no-open"));
  await pictureWhere(browser, hasPrompt);
  assert.equal(await browser.evaluate("location.hash"), "");
  await when(browser, `document.activeElement.matches('${TERMINAL} textarea')`, Boolean);
  await typeLine(browser, "clear; echo é $((6 * 7))|tr 2 3");
  const rows = await pictureWhere(browser, (it) => it.length === 2 && hasPrompt(it));
  assert.equal(rows[0], "é 43");
  await typeLine(browser, "sleep 1000");
  await pictureWhere(browser, (it) => it.at(-1)?.endsWith("sleep 1000"));
  await browser.press("Control", "c");
  await pictureWhere(browser, (it) => it.at(-2) === "^C" && hasPrompt(it));
  // The page has colours of its own in each, and the glass none of the browser's.
  const before = await browser.evaluate(BACKGROUND);
  await browser.evaluate(`document.querySelector('button[aria-label^="Light or dark"]').click()`);
  await when(browser, BACKGROUND, (now) => now !== before);
  const font = await browser.evaluate(
    `getComputedStyle(document.querySelector('${TERMINAL} .xterm-rows')).fontFamily`,
  );
  assert.match(font, /mono/i);
}

/** As narrow as a phone: the keys that its keyboard lacks are there, and they type. */
async function onPhone(browser) {
  await browser.resize(390, 844);
  await when(browser, "innerWidth", (width) => width <= 640);
  const key = (name) => `document.querySelector('.keys button[aria-label="${name}"]')`;
  await when(browser, `${key("Up")}.checkVisibility()`, Boolean);
  await browser.evaluate(`${key("Up")}.click()`);
  await pictureWhere(browser, (rows) => rows.at(-1).endsWith("sleep 1000"));
  await browser.evaluate(`${key("Ctrl, with the next key")}.click()`);
  await browser.press("u");
  await pictureWhere(browser, hasPrompt);
  assert.ok(await browser.evaluate("document.documentElement.scrollWidth <= innerWidth"));
}

check("Firefox", () => Firefox.launch());
check("WebKit", () => WebKit.launch(), onPhone);
