// The whole product: the binary, a machine that boots Debian's kernel, and a browser.

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { build, launch, openPage, pictureWhere, typeLine } from "./scripted.js";

/** `STACKVM` names a binary that is built already. */
const STACKVM = process.env.STACKVM ?? build("stackvm-cli", "--bin", "stackvm");

let browser;
let home;
before(async () => {
  browser = await launch();
  // The image that the other tests have built, or will find here.
  const shared = join(dirname(dirname(STACKVM)), "tmp/images-home");
  await mkdir(shared, { recursive: true });
  if (!existsSync(join(shared, "images/tiny"))) {
    const env = { ...process.env, STACKVM_HOME: shared };
    execFileSync(STACKVM, ["image", "build", "tiny"], { env, stdio: ["ignore", "ignore", "pipe"] });
  }
  home = await mkdtemp(join(tmpdir(), "stackvm-up-"));
  await symlink(join(shared, "images"), join(home, "images"));
});
after(async () => {
  await browser.close();
  // What a failed test leaves running.
  const env = { ...process.env, STACKVM_HOME: home };
  spawnSync(STACKVM, ["stop", "--kill", "up"], { env, stdio: "ignore" });
  await rm(home, { recursive: true });
});

/** Starts `stackvm up`; `link` is its first line. */
async function up() {
  const env = { ...process.env, STACKVM_HOME: home };
  const child = spawn(STACKVM, ["up", "--no-open"], { env, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const words = [];
  child.stderr.on("data", (bytes) => words.push(bytes));
  const lines = createInterface({ input: child.stdout });
  const link = await new Promise((resolve, reject) => {
    lines.once("line", resolve);
    lines.once("close", () => reject(new Error(`no link: ${Buffer.concat(words)}`)));
  });
  const end = async () => {
    child.kill("SIGINT");
    assert.equal(await ended, 0, String(Buffer.concat(words)));
  };
  return { link, end };
}

const hasPrompt = (rows) => rows.at(-1) === "root@tiny:~#";

test("up leads to a prompt, and the next up to the same one", async () => {
  const first = await up();
  const page = await openPage(browser, first.link);
  await pictureWhere(page, hasPrompt);
  await typeLine(page, "uname -m; stty size; here=kept");
  const [columns, rows] = (await page.locator(".size .mono").innerText()).split("\u00d7");
  const wanted = ["riscv64", `${rows} ${columns}`, "root@tiny:~#"];
  const before = await pictureWhere(page, (it) => it.slice(-3).join() === wanted.join());
  await first.end();

  const second = await up();
  const again = await openPage(browser, second.link);
  assert.deepEqual(await pictureWhere(again, hasPrompt), before);
  await typeLine(again, "echo $here");
  await pictureWhere(again, (it) => it.at(-2) === "kept" && hasPrompt(it));
  assert.deepEqual(again.complaints, []);

  await typeLine(again, "poweroff -f");
  await again.getByText("The machine is off: the guest switched it off.").waitFor();
  await again.getByRole("button", { name: "Start" }).click();
  await again.locator("[data-state=running]").waitFor();
  await pictureWhere(again, hasPrompt);
  await second.end();
});
