// Real keyboards in a real browser: what reaches the machine, and what stays the page's.

import assert from "node:assert/strict";
import { test } from "node:test";
import { scene } from "./scene.js";
import {
  clearScreen,
  hasPrompt,
  openPage,
  PHONE,
  picture,
  pictureWhere,
  typeLine,
  watch,
} from "./stackvm.js";

/** Typing asks whoever leaves for so long. */
const RECENT_MS = 60_000;

const permissions = ["clipboard-read", "clipboard-write"];
const { browser, home, owner, machineUrl } = await scene({ permissions });

/** The machine's page with nothing but a prompt on it. */
async function atMachine(page = owner) {
  await page.goto(machineUrl);
  await clearScreen(page);
}

/** Begins to read keys in the machine; returns how to hear, in hexadecimal, which it had. */
async function readKeys(page, count) {
  const read = `dd bs=1 count=${count} 2>/dev/null > /tmp/keys`;
  const show = `hexdump -ve '1/1 "%02x "' /tmp/keys; echo`;
  await typeLine(page, `stty raw -echo; echo ready; ${read}; stty sane; ${show}`);
  await pictureWhere(page, (rows) => rows.some((row) => row.trim() === "ready"));
  return async () => {
    const rows = await pictureWhere(page, hasPrompt);
    return rows.at(-2).trim();
  };
}

/** Puts a text on the clipboard, as another program would. */
const copyElsewhere = (text) => owner.evaluate((it) => navigator.clipboard.writeText(it), text);
const clipboard = () => owner.evaluate(() => navigator.clipboard.readText());

test("in full screen even Ctrl-W, Ctrl-T and Ctrl-N are the machine's", async () => {
  const page = await owner.context().newPage();
  watch(page);
  await page.addInitScript(() => {
    const { keyboard } = navigator;
    window.locks = [];
    const [lock, unlock] = [keyboard.lock.bind(keyboard), keyboard.unlock.bind(keyboard)];
    keyboard.lock = async (codes) => {
      await lock(codes);
      window.locks.push(codes.join(" "));
    };
    keyboard.unlock = () => {
      unlock();
      window.locks.push("none");
    };
  });
  await atMachine(page);
  await page.getByRole("button", { name: "Full screen" }).click();
  await page.waitForFunction(() => document.fullscreenElement && window.locks.length > 0);
  const locked = ["KeyW KeyT KeyN PageUp PageDown Escape"];
  assert.deepEqual(await page.evaluate(() => window.locks), locked);
  const heard = await readKeys(page, 4);
  for (const key of ["w", "t", "n"]) await page.keyboard.press(`Control+${key}`);
  await page.keyboard.press("Escape");
  assert.equal(await heard(), "17 14 0e 1b");
  assert.ok(await page.evaluate(() => document.fullscreenElement !== null));
  await page.getByRole("button", { name: "Leave full screen" }).click();
  await page.waitForFunction(() => !document.fullscreenElement && window.locks.at(-1) === "none");
  assert.equal(await page.getByText("The browser keeps Ctrl-W").count(), 0);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a browser without Keyboard Lock says what it keeps", async () => {
  const page = await owner.context().newPage();
  watch(page);
  await page.addInitScript(() => {
    Object.defineProperty(navigator, "keyboard", { value: undefined });
  });
  await atMachine(page);
  await page.getByRole("button", { name: "Full screen" }).click();
  await page.getByText("The browser keeps Ctrl-W, Ctrl-T and Ctrl-N to itself here.").waitFor();
  await page.close();
});

test("leaving asks for a minute after typing, and not any longer", async () => {
  const page = await owner.context().newPage();
  watch(page);
  await page.clock.install();
  await atMachine(page);
  await page.reload();
  assert.equal(page.askedToStay, 1);
  await clearScreen(page);
  await page.clock.fastForward(RECENT_MS + 1);
  await page.reload();
  assert.equal(page.askedToStay, 1);
  await pictureWhere(page, hasPrompt);
  await page.close();
});

test("Ctrl-Shift-C copies and Ctrl-Shift-V pastes; Ctrl-C is the machine's", async () => {
  await atMachine();
  await copyElsewhere("nothing yet");
  await typeLine(owner, "clear; echo wal; echo nu''ss");
  await pictureWhere(owner, (rows) => rows.length === 3 && hasPrompt(rows));
  const { x, y } = await owner.getByText("nuss", { exact: true }).boundingBox();
  await owner.mouse.dblclick(x + 8, y + 6);
  await owner.keyboard.press("Control+Shift+C");
  assert.equal(await clipboard(), "nuss");
  await owner.keyboard.type("echo hasel");
  await owner.keyboard.press("Control+Shift+V");
  await owner.keyboard.press("Enter");
  await pictureWhere(owner, (rows) => rows.includes("haselnuss") && hasPrompt(rows));
  await typeLine(owner, "sleep 1000");
  await pictureWhere(owner, (rows) => rows.at(-1).endsWith("sleep 1000"));
  await owner.keyboard.press("Control+c");
  await pictureWhere(owner, (rows) => rows.at(-2) === "^C" && hasPrompt(rows));
  assert.equal(await clipboard(), "nuss");
});

test("a middle click pastes what is selected", async () => {
  await atMachine();
  await typeLine(owner, "clear; echo mid''dle");
  await pictureWhere(owner, (rows) => rows.length === 2 && hasPrompt(rows));
  await owner.keyboard.type("echo hazel");
  const { x, y } = await owner.getByText("middle", { exact: true }).boundingBox();
  await owner.mouse.dblclick(x + 8, y + 6);
  await owner.mouse.click(x + 60, y + 60, { button: "middle" });
  await owner.keyboard.press("Enter");
  await pictureWhere(owner, (rows) => rows.includes("hazelmiddle") && hasPrompt(rows));
});

test("several lines are shown before they are pasted", async () => {
  await atMachine();
  const lines = "echo o''ne\necho t''wo\n";
  const sheet = owner.getByRole("dialog", { name: "Paste 2 lines?" });
  const pasteAnd = async (choice) => {
    await copyElsewhere(lines);
    await owner.keyboard.press("Control+Shift+V");
    await sheet.getByText("echo t''wo").waitFor();
    assert.equal((await picture(owner)).at(-1).includes("echo"), false);
    await sheet.getByRole("button", { name: choice, exact: true }).click();
    await sheet.waitFor({ state: "detached" });
  };
  await pasteAnd("Leave it");
  await owner.keyboard.type("x");
  await pictureWhere(owner, (rows) => rows.length === 1 && rows[0].endsWith(":~# x"));
  await owner.keyboard.press("Backspace");
  await pasteAnd("As one line");
  await owner.keyboard.press("Enter");
  await pictureWhere(owner, (rows) => rows.includes("one echo two") && hasPrompt(rows));
  await pasteAnd("Paste");
  await pictureWhere(owner, (it) => it.includes("one") && it.includes("two") && hasPrompt(it));
});

test("what an input method composes is typed once, when it is done", async () => {
  await atMachine();
  const line = await owner.context().newCDPSession(owner);
  const compose = (text) => {
    const at = text.length;
    return line.send("Input.imeSetComposition", { text, selectionStart: at, selectionEnd: at });
  };
  await typeLine(owner, "clear; echo ready; cat");
  await pictureWhere(owner, (rows) => rows.at(-1) === "ready");
  for (const text of ["k", "か", "かん", "かんじ"]) await compose(text);
  assert.deepEqual(await picture(owner), ["ready"]);
  await line.send("Input.insertText", { text: "漢字" });
  await pictureWhere(owner, (rows) => rows.at(-1) === "漢字");
  // A dead key composes as well: the accent first, then the letter with it.
  await line.send("Input.dispatchKeyEvent", {
    type: "rawKeyDown",
    key: "Dead",
    code: "Quote",
    windowsVirtualKeyCode: 229,
  });
  await compose("´");
  await line.send("Input.insertText", { text: "é" });
  await line.send("Input.dispatchKeyEvent", { type: "keyUp", key: "e", code: "KeyE" });
  await pictureWhere(owner, (rows) => rows.at(-1) === "漢字é");
  await owner.keyboard.press("Enter");
  const rows = await pictureWhere(owner, (it) => it.length >= 3);
  assert.deepEqual(rows, ["ready", "漢字é", "漢字é"]);
  await owner.keyboard.press("Control+c");
  await pictureWhere(owner, hasPrompt);
});

test("a guest writes to the clipboard only where it may, and never reads it", async () => {
  const write = String.raw`printf '\033]52;c;ZXZpbA==\007'; echo wr''ote`;
  await atMachine();
  await copyElsewhere("mine");
  await typeLine(owner, write);
  await pictureWhere(owner, (rows) => rows.includes("wrote") && hasPrompt(rows));
  assert.equal(await clipboard(), "mine");

  await owner.goto(`${home.origin}/`);
  await owner.getByRole("button", { name: /^What to do with / }).click();
  await owner.getByRole("button", { name: "Let it use the clipboard" }).click();
  await owner.getByRole("button", { name: /^What to do with / }).click();
  await owner.getByRole("button", { name: "Keep its hands off the clipboard" }).waitFor();
  await atMachine();
  await typeLine(owner, write);
  await owner.getByText("The machine put 4 characters on your clipboard.").waitFor();
  assert.equal(await clipboard(), "evil");
  const ask = String.raw`printf '\033]52;c;?\007'; dd bs=64 count=9 2>/dev/null | wc -c`;
  await typeLine(owner, `stty -echo -icanon min 0 time 20; ${ask}; stty sane; echo as''ked`);
  const rows = await pictureWhere(owner, (it) => it.includes("asked") && hasPrompt(it));
  assert.equal(rows.at(-3).trim(), "0", rows.join("\n"));
});

test("a phone has the keys that its keyboard lacks, and Ctrl waits for the next one", async () => {
  const storageState = await owner.context().storageState();
  const phone = await openPage(browser, machineUrl, { ...PHONE, storageState });
  await clearScreen(phone);
  const row = phone.getByRole("region", { name: "Terminal keys" });
  const key = (name) => row.getByRole("button", { name, exact: true });
  const line = await phone.context().newCDPSession(phone);
  // A phone's keyboard inserts text and says nothing of keys.
  const insert = (text) => line.send("Input.insertText", { text });

  await insert("sleep 1000");
  await phone.keyboard.press("Enter");
  await pictureWhere(phone, (rows) => rows.at(-1).endsWith("sleep 1000"));
  const ctrl = key("Ctrl, with the next key");
  await ctrl.tap();
  assert.equal(await ctrl.getAttribute("aria-pressed"), "true");
  await insert("c");
  await pictureWhere(phone, (rows) => rows.at(-2) === "^C" && hasPrompt(rows));
  assert.equal(await ctrl.getAttribute("aria-pressed"), "false");
  await key("Up").tap();
  await pictureWhere(phone, (rows) => rows.at(-1).endsWith(":~# sleep 1000"));
  await ctrl.tap();
  await insert("u");
  await pictureWhere(phone, hasPrompt);

  const heard = await readKeys(phone, 10);
  for (const name of ["Esc", "Tab", "Left", "Bar", "Slash", "Minus"]) await key(name).tap();
  await key("Alt, with the next key").tap();
  await insert("x");
  assert.equal(await heard(), "1b 09 1b 5b 44 7c 2f 2d 1b 78");
  assert.deepEqual(phone.complaints, []);
  await phone.context().close();
});
