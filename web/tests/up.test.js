// What must never go wrong between machines, the server and browsers: links, the keyboard, hostile
// output, lines that break. Times are asserted at three times their targets.

import assert from "node:assert/strict";
import { test } from "node:test";
import { scene } from "./scene.js";
import {
  clearScreen,
  closeDialog,
  hasPrompt,
  openPage,
  PHONE,
  picture,
  pictureWhere,
  share,
  typeLine,
  watch,
  within,
} from "./stackvm.js";

/** The owner's browser, and the page of the machine that was there first. */
const { browser, home, owner, machineUrl } = await scene();

/** Leads the owner's page back to the machine, with nothing on it. */
async function atMachine() {
  owner.complaints.length = 0;
  await owner.goto(machineUrl);
  // What was typed last may stand behind the prompt.
  await clearScreen(owner, (rows) => rows.length > 0);
}

/** In the page: says something of a machine, as somebody elsewhere might. */
const say = ({ method, path, body }) =>
  fetch(`/api/machines/${path}`, {
    method,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });

test("a used link says what to do, and lets in whoever was in", async () => {
  const stranger = await openPage(browser, home.link);
  await stranger.getByRole("heading", { name: "Run stackvm open" }).waitFor();
  await owner.goto(home.link);
  await pictureWhere(owner, hasPrompt);
});

test("home makes, names, finds, deletes and gives back machines", async () => {
  await owner.goto(`${home.origin}/`);
  const form = owner.getByRole("form", { name: "New machine" });
  await form.getByLabel("Name").fill("lesson");
  await within(2000, "a new machine's prompt", async () => {
    await form.getByRole("button", { name: "New machine" }).click();
    await pictureWhere(owner, hasPrompt);
  });
  const id = new URL(owner.url()).pathname.slice("/m/".length);
  await owner.getByRole("link", { name: "StackVM" }).click();
  const row = owner.getByRole("listitem").filter({ hasText: "lesson" });
  await row.getByText("root@").waitFor();

  await row.getByRole("button", { name: "Notes on lesson" }).click();
  await owner.getByRole("textbox", { name: "Notes on lesson" }).fill("for Tuesday <b>");
  // Nobody replaces unawares what somebody else wrote meanwhile.
  await owner.evaluate(say, { method: "PATCH", path: id, body: { notes: "for Monday" } });
  await row.getByText("Somebody made it: for Monday").waitFor();
  await owner.keyboard.press("Control+Enter");
  await row.getByText("for Tuesday <b>").waitFor();
  await row.getByRole("button", { name: "Tags of lesson" }).click();
  await owner.getByRole("textbox", { name: "Tags of lesson" }).fill("class, nginx");
  await owner.keyboard.press("Enter");
  await row.getByRole("button", { name: "nginx" }).waitFor();
  await owner.keyboard.press("/");
  await owner.keyboard.type("tuesday nginx");
  await owner.getByText("1 machine found").waitFor();
  await owner.keyboard.press("Escape");

  await row.getByRole("button", { name: "What to do with lesson" }).click();
  await row.getByRole("button", { name: "Rename" }).click();
  const name = owner.getByRole("textbox", { name: "Name of lesson" });
  await name.fill("seminar");
  // What happens to the machine meanwhile takes nobody's words away.
  const renaming = owner.getByRole("listitem").filter({ hasText: "for Tuesday" });
  for (const [action, state] of [["pause", "paused"], ["resume", "running"]]) {
    await owner.evaluate(say, { method: "POST", path: `${id}/power`, body: { action } });
    await renaming.getByText(state).waitFor();
  }
  assert.equal(await name.inputValue(), "seminar");
  await name.press("Enter");
  const renamed = owner.getByRole("listitem").filter({ hasText: "seminar" });
  await renamed.getByRole("button", { name: "What to do with seminar" }).click();
  await renamed.getByRole("button", { name: "Pause" }).click();
  await renamed.getByText("paused").waitFor();
  await renamed.getByRole("button", { name: "What to do with seminar" }).click();
  await renamed.getByRole("button", { name: "Resume" }).click();
  await renamed.getByText("running").waitFor();

  await renamed.getByRole("button", { name: "What to do with seminar" }).click();
  await renamed.getByRole("button", { name: "Delete" }).click();
  await renamed.getByRole("button", { name: "Save, stop and delete? Press again" }).click();
  await renamed.waitFor({ state: "detached" });
  await owner.getByRole("button", { name: "Undo" }).click();
  await renamed.getByText("for Tuesday <b>").waitFor();
  await renamed.getByText("saved").waitFor();
});

test("whoever watches cannot type, and outlives the link that types", async () => {
  await atMachine();
  const { typing, watching } = await share(owner);
  await closeDialog(owner);
  const viewer = await openPage(browser, watching);
  await pictureWhere(viewer, hasPrompt);
  await typeLine(viewer, "echo never");
  await viewer.getByText("You are watching").first().waitFor();
  await typeLine(owner, "echo after");
  await pictureWhere(viewer, (it) => it.includes("after"));
  assert.ok(!(await picture(owner)).some((row) => row.includes("never")));

  await owner.getByRole("button", { name: "Share", exact: true }).click();
  const links = owner.getByRole("dialog").getByRole("listitem").filter({ hasText: "may type" });
  await links.getByRole("button", { name: "End" }).click();
  await links.getByRole("button", { name: "End it now?" }).click();
  const late = await openPage(browser, typing);
  await late.getByRole("heading", { name: "This link was ended" }).waitFor();
  assert.equal(await viewer.getByRole("heading", { name: "This link was ended" }).count(), 0);
});

test("a password is asked for, and a wrong one refused", async () => {
  await atMachine();
  await owner.getByRole("button", { name: "Share", exact: true }).click();
  await owner.getByLabel("Password").fill("correct horse");
  await owner.getByRole("button", { name: "Make the links" }).click();
  const typing = await owner
    .getByRole("textbox", { name: "Whoever has this one may type" })
    .inputValue();
  const guest = await openPage(browser, typing);
  await guest.getByLabel("Password").fill("guess");
  await guest.getByRole("button", { name: "Open" }).click();
  await guest.getByText("That is not it.").waitFor();
  await guest.getByLabel("Password").fill("correct horse");
  await guest.getByRole("button", { name: "Open" }).click();
  await pictureWhere(guest, (rows) => rows.length > 0);
});

test("from three on the keyboard is passed: asked for, given, taken back", async () => {
  await atMachine();
  const { typing } = await share(owner);
  await closeDialog(owner);
  const second = await openPage(browser, typing);
  const third = await openPage(browser, typing);
  await pictureWhere(third, hasPrompt);
  await typeLine(second, "echo mine");
  await pictureWhere(owner, (rows) => rows.includes("mine"));
  await typeLine(third, "echo refused");
  await third.getByText("that key was not typed").waitFor();
  await third
    .getByRole("group", { name: "Keyboard" })
    .getByRole("button", { name: "Ask for it" })
    .click();
  await third.getByText("you are next").waitFor();
  await second.getByRole("button", { name: "Give it" }).click();
  await third.getByText("have the keyboard", { exact: true }).waitFor();
  await typeLine(third, "echo theirs");
  await pictureWhere(owner, (rows) => rows.includes("theirs"));
  await owner
    .getByRole("group", { name: "Keyboard" })
    .getByRole("button", { name: "Take it" })
    .click();
  await typeLine(owner, "echo back");
  const rows = await pictureWhere(second, (it) => it.includes("back"));
  assert.ok(!rows.some((row) => row.includes("refused")));
});

test("what is said reaches everybody, as plain text", async () => {
  await atMachine();
  const { typing } = await share(owner);
  await closeDialog(owner);
  const guest = await openPage(browser, typing);
  await pictureWhere(guest, hasPrompt);
  await owner.getByRole("button", { name: /^Chat/ }).click();
  await owner.getByRole("textbox", { name: "Say something" }).fill("<img src=x onerror=alert(1)>");
  await owner.keyboard.press("Enter");
  await guest.getByRole("button", { name: "Chat, 1 new" }).click();
  await guest.getByText("<img src=x onerror=alert(1)>").waitFor();
  assert.deepEqual(guest.complaints, []);
});

test("the size is the typist's", async () => {
  await atMachine();
  const size = () => owner.locator(".size").innerText();
  const before = await size();
  const { typing } = await share(owner);
  await closeDialog(owner);
  const phone = await openPage(browser, typing, PHONE);
  await pictureWhere(phone, hasPrompt);
  await phone.getByRole("button", { name: "Slash" }).tap();
  await owner.waitForFunction(
    (old) => document.querySelector(".size")?.textContent !== old,
    before,
  );
  await phone.getByRole("button", { name: "Ctrl, with the next key" }).tap();
  await phone.keyboard.type("c");
  await pictureWhere(phone, hasPrompt);
});

test("one question, one answer, however many look", async () => {
  await atMachine();
  const { typing } = await share(owner);
  await closeDialog(owner);
  const others = [await openPage(browser, typing), await openPage(browser, typing)];
  for (const page of others) await pictureWhere(page, hasPrompt);
  const ask = String.raw`stty -echo -icanon min 0 time 20; printf '\033[6n'; dd bs=64 count=9 2>/dev/null | tr '\033' E; stty sane; echo; echo asked`;
  await typeLine(owner, ask);
  const rows = await pictureWhere(owner, (it) => it.includes("asked") && hasPrompt(it));
  const answers = rows.join("").match(/E\[\d+;\d+R/g) ?? [];
  assert.equal(answers.length, 1, rows.join("\n"));
});

test("hostile output is text, whatever it tries", async () => {
  await atMachine();
  const tries = [
    String.raw`\033]0;<script>alert(1)</script>\007`,
    String.raw`\033]8;;javascript:alert(1)\007click\033]8;;\007`,
    String.raw`\033]52;c;ZXZpbA==\007`,
    String.raw`\033]52;c;?\007`,
    String.raw`\033[38;2;1;2;3m"><img src=x onerror=alert(1)>\033[0m`,
    String.raw`\033]1337;File=inline=1:AAAA\007\033Pq#0\033\\`,
  ];
  // One after the other, as the shell asks its terminal where the cursor is before each.
  for (const [at, text] of tries.entries()) {
    await typeLine(owner, `printf '${text.replaceAll("%", "%%")}\\n'; echo tried ${at}`);
    await pictureWhere(owner, (it) => it.includes(`tried ${at}`) && hasPrompt(it));
  }
  await typeLine(owner, "echo survived");
  await pictureWhere(owner, (it) => it.includes("survived") && hasPrompt(it));
  assert.ok((await owner.title()).startsWith("<script>alert(1)</script>"));
  assert.deepEqual(owner.complaints, []);
});

test("lines that are cut at random lose and double no key", async () => {
  await atMachine();
  const page = await owner.context().newPage();
  watch(page);
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  let cuts = 0;
  await page.routeWebSocket(/\/api\/machines\/.*\/live$/, (line) => {
    const server = line.connectToServer();
    line.onMessage((message) => {
      if (typeof message !== "string" && random() < 0.02) {
        cuts += 1;
        // Some keys arrive, and only their answers are lost.
        if (random() < 0.5) server.send(message);
        void server.close();
        void line.close();
      } else server.send(message);
    });
  });
  await page.goto(machineUrl);
  await pictureWhere(page, hasPrompt);
  await typeLine(page, "stty -echo; echo ready; cat > /tmp/typed; stty echo; clear");
  await pictureWhere(page, (rows) => rows.at(-1) === "ready");
  const expected = Array.from({ length: 200 }, (_, at) => `key ${at}`).join("\n");
  for (const line of expected.split("\n")) await typeLine(page, line);
  await page.keyboard.press("Control+d");
  await pictureWhere(page, (rows) => rows.length === 1 && hasPrompt(rows));
  await typeLine(page, "clear; md5sum < /tmp/typed; wc -l < /tmp/typed");
  const rows = await pictureWhere(page, (it) => it.length === 3 && hasPrompt(it));
  const { createHash } = await import("node:crypto");
  const hash = createHash("md5").update(`${expected}\n`).digest("hex");
  assert.deepEqual([rows[0].split(" ")[0], rows[1].trim()], [hash, "200"]);
  assert.ok(cuts > 20, `only ${cuts} cuts`);
});

test("a server that was killed is back by itself, with the machine untouched", async () => {
  await atMachine();
  await typeLine(owner, "here=kept");
  await pictureWhere(owner, (rows) => rows.length === 2);
  await home.kill();
  await owner.getByText("No line. Connecting again by itself").waitFor();
  assert.ok(hasPrompt(await picture(owner)));
  await home.up();
  await owner.goto(machineUrl.replace(/^http:\/\/[^/]+/, home.origin));
  await pictureWhere(owner, hasPrompt);
  await typeLine(owner, "echo $here");
  await pictureWhere(owner, (rows) => rows.at(-2) === "kept");
});
