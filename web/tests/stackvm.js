// The tests' two sides: the whole product (`stackvm up` with a data directory of its own) and a
// browser.

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Long enough for a host that does much else; nothing ever waits for it to pass. */
const WAIT_MS = 60_000;

/** The browser; `CHROMIUM` names another than Debian's. */
export async function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

let binary;
/** The program: `STACKVM` names one that is built already. */
function stackvm() {
  binary ??= process.env.STACKVM ?? build();
  return binary;
}

function build() {
  // The server has the pages inside.
  if (!existsSync(`${ROOT}/web/dist/index.html`)) {
    execFileSync("npm", ["run", "build"], { cwd: `${ROOT}/web`, stdio: "ignore" });
  }
  const args = ["build", "-q", "--release", "--message-format", "json", "-p", "stackvm-cli"];
  const messages = execFileSync("cargo", [...args, "--bin", "stackvm"], {
    cwd: ROOT,
    maxBuffer: 1 << 28,
  }).toString();
  const artifacts = messages
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  return artifacts.findLast((it) => it.target?.name === "stackvm" && it.executable).executable;
}

/** A data directory, and the server of it, which may be ended and started again. */
export class Home {
  #folder;
  #child = null;
  #ended;
  #words = [];
  /** What `up` printed first. */
  link = "";

  /** With the images that the other tests have built, or will find there (`STACKVM_IMAGES`). */
  static async make() {
    const home = new Home();
    const shared =
      process.env.STACKVM_IMAGES ?? join(dirname(dirname(stackvm())), "tmp/images-home");
    await mkdir(shared, { recursive: true });
    if (!existsSync(join(shared, "images/tiny"))) {
      const env = { ...process.env, STACKVM_HOME: shared };
      const stdio = ["ignore", "ignore", "pipe"];
      execFileSync(stackvm(), ["image", "build", "tiny"], { env, stdio });
    }
    home.#folder = await mkdtemp(join(tmpdir(), "stackvm-up-"));
    await symlink(join(shared, "images"), join(home.#folder, "images"));
    return home;
  }

  get origin() {
    return new URL(this.link).origin;
  }

  /** The server's process. */
  get pid() {
    return this.#child.pid;
  }

  async up() {
    const args = ["up", "--no-open", ...(process.env.STACKVM_UP ?? "").split(" ").filter(Boolean)];
    const child = spawn(stackvm(), args, { env: this.#env(), stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    this.#ended = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
    this.#words = [];
    child.stderr.on("data", (bytes) => this.#words.push(bytes));
    const lines = createInterface({ input: child.stdout });
    this.link = await new Promise((resolve, reject) => {
      lines.on("line", (line) => {
        const link = /http:\/\/\S+/.exec(line);
        if (link) resolve(link[0]);
      });
      lines.once("close", () => reject(new Error(`no link: ${Buffer.concat(this.#words)}`)));
    });
  }

  /** As Ctrl-C. */
  async end() {
    const child = this.#child;
    this.#child = null;
    child.kill("SIGINT");
    assert.equal(await this.#ended, 0, String(Buffer.concat(this.#words)));
  }

  /** As a crash of the server. */
  async kill() {
    const child = this.#child;
    this.#child = null;
    child.kill("SIGKILL");
    await this.#ended;
  }

  /** Says a command, and returns what it prints. */
  run(...args) {
    return execFileSync(stackvm(), args, { env: this.#env() }).toString().trim();
  }

  /** Puts machines that never ran beside those that are there, until there are so many. */
  async fill(count) {
    const machines = join(this.#folder, "machines");
    const [first, ...others] = await readdir(machines);
    const spec = JSON.parse(await readFile(join(machines, first, "machine.json"), "utf8"));
    for (let at = others.length + 1; at < count; at += 1) {
      const name = `kept-${at}`;
      await mkdir(join(machines, name));
      const text = JSON.stringify({ ...spec, name, label: null });
      await writeFile(join(machines, name, "machine.json"), text);
    }
  }

  async remove() {
    if (this.#child) await this.kill();
    // What a failed test leaves running.
    const listed = spawnSync(stackvm(), ["ls", "-q"], { env: this.#env() });
    for (const name of String(listed.stdout).split("\n").filter(Boolean)) {
      spawnSync(stackvm(), ["stop", "--kill", name], { env: this.#env(), stdio: "ignore" });
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  #env() {
    return { ...process.env, STACKVM_HOME: this.#folder };
  }
}

/** A new browser profile with one page that keeps what the browser complains about. */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  watch(page);
  await page.goto(url);
  return page;
}

/** A server, and its owner's page in a browser, at the prompt of the machine that was there first. */
export async function ownerAtPrompt(options = {}) {
  const browser = await launch();
  const home = await Home.make();
  await home.up();
  const owner = await openPage(browser, home.link, options);
  await pictureWhere(owner, hasPrompt);
  return { browser, home, owner, machineUrl: owner.url() };
}

/** Waits until the shell takes commands, and has nothing but its prompt on the screen. */
export async function clearScreen(page, takesCommands = hasPrompt) {
  await pictureWhere(page, takesCommands);
  await typeLine(page, "clear");
  await pictureWhere(page, (rows) => rows.length === 1 && hasPrompt(rows));
}

/** Closes everybody's browser but the owner's. */
export async function closeOthers(browser, owner) {
  for (const context of browser.contexts()) {
    if (context !== owner?.context()) await context.close();
  }
}

export function watch(page) {
  page.setDefaultTimeout(WAIT_MS);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.askedToStay = 0;
  page.on("dialog", (dialog) => {
    const isLeaving = dialog.type() === "beforeunload";
    if (isLeaving) page.askedToStay += 1;
    else page.complaints.push(`dialog: ${dialog.message()}`);
    void (isLeaving ? dialog.accept() : dialog.dismiss());
  });
  page.on("console", (message) => {
    if (message.type() !== "error") return;
    page.complaints.push(`${message.text()} ${message.location().url}`);
  });
}

/** What Debian's Chromium says it is on a phone held upright. */
export const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

/** What is shown on a machine's page: what it shows now, or what it showed at an instant. */
const NOW = "Terminal";
const THEN = "The terminal then";

/** The text of a terminal's picture, without blank lines. */
export async function picture(page, glass = NOW) {
  const rows = await page
    .locator(`section[aria-label="${glass}"] .xterm-rows > div`)
    .allInnerTexts();
  return rows.map((row) => row.replaceAll("\u00a0", " ").trimEnd()).filter((row) => row !== "");
}

/** Waits until a terminal's picture satisfies `wanted`, and returns it. */
export async function pictureWhere(page, wanted, glass = NOW) {
  const end = Date.now() + WAIT_MS;
  for (;;) {
    const rows = await picture(page, glass);
    if (wanted(rows)) return rows;
    if (Date.now() > end) throw new Error(`not seen in time; the picture is:\n${rows.join("\n")}`);
    // The next frame the browser draws is the next that can differ.
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
}

/** Waits until the picture of the past satisfies `wanted`, and returns it. */
export const thenWhere = (page, wanted) => pictureWhere(page, wanted, THEN);

export const hasPrompt = (rows) => /^root@\S+:~#$/.test(rows.at(-1) ?? "");

/** The instant (ns) that the machine of a page has reached by what its strip may know. */
export async function reached(page) {
  const path = `/api${new URL(page.url()).pathname.replace("/m/", "/machines/")}/timeline`;
  return page.evaluate(async (path) => (await (await fetch(path)).json()).end_ns, path);
}

/** Waits until the strip knows all that the machine did. */
export async function caughtUp(page) {
  const clock = page.getByRole("region", { name: "Timeline" }).locator(".clock");
  const known = async () => {
    const [hours, minutes, seconds] = (await clock.innerText())
      .replaceAll(/\s/g, "")
      .split(":")
      .map(Number);
    return Math.round(((hours * 60 + minutes) * 60 + seconds) * 1e9);
  };
  const end = Date.now() + WAIT_MS;
  while ((await known()) < (await reached(page)) - 1000) {
    assert.ok(Date.now() < end, `${await known()} of ${await reached(page)}`);
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
}

/** Types a line and its Enter. */
export async function typeLine(page, line) {
  await page.locator('section[aria-label="Terminal"] textarea').focus();
  await page.keyboard.type(line);
  await page.keyboard.press("Enter");
}

/** The same with its echo before Enter, so that whoever goes to before the Enter finds all of it. */
export async function enterLine(page, line) {
  await page.locator('section[aria-label="Terminal"] textarea').focus();
  await page.keyboard.type(line);
  await pictureWhere(page, (rows) => rows.at(-1)?.endsWith(` ${line}`) === true);
  await page.keyboard.press("Enter");
}

/** Presses a key; milliseconds until the frame in which the glass shows its echo has been drawn. */
export async function echoMs(page, key) {
  await page.evaluate(expectEcho, key);
  await page.keyboard.press(key);
  return page.evaluate(() => window.echoed);
}

/** Runs in the page. */
function expectEcho(key) {
  const rows = document.querySelector(".xterm-rows");
  const text = () => rows.textContent.replaceAll("\u00a0", " ").trimEnd();
  const wanted = text().length + (text().endsWith("#") ? 1 : 0) + 1;
  window.echoed = new Promise((resolve) => {
    let pressed = 0;
    addEventListener("keydown", (event) => (pressed = event.timeStamp), {
      capture: true,
      once: true,
    });
    const observer = new MutationObserver(() => {
      if (!text().endsWith(key) || text().length < wanted) return;
      observer.disconnect();
      // xterm.js draws before a frame; this message comes after that frame.
      const channel = new MessageChannel();
      channel.port1.onmessage = () => resolve(performance.now() - pressed);
      channel.port2.postMessage(null);
    });
    observer.observe(rows, { childList: true, subtree: true, characterData: true });
  });
}

/** Runs something in milliseconds; fails when it takes more than three times its target. */
export async function within(target, what, act) {
  const start = performance.now();
  const result = await act();
  const took = performance.now() - start;
  assert.ok(took <= target * 3, `${what} took ${took.toFixed(0)} ms, the target is ${target} ms`);
  return result;
}

/** Makes links in the share dialog; returns those for typing and for watching. */
export async function share(page) {
  await page.getByRole("button", { name: "Share", exact: true }).click();
  await page.getByRole("button", { name: "Make the links" }).click();
  const typing = await page
    .getByRole("textbox", { name: "Whoever has this one may type" })
    .inputValue();
  const watching = await page
    .getByRole("textbox", { name: "Whoever has this one watches" })
    .inputValue();
  const snippet = await page.getByRole("textbox", { name: "Embed code" }).inputValue();
  return { typing, watching, snippet };
}

/** A link that gives so many visitors at once machines of their own, from the owner's as it is now. */
export function visitLink(owner, visitors) {
  const machine = new URL(owner.url()).pathname.split("/").at(-1);
  return owner.evaluate(
    async ([machine, visitors]) => {
      const post = async (path, body) => {
        const headers = { "content-type": "application/json" };
        const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
        if (!answer.ok) throw new Error(await answer.text());
        return answer.json();
      };
      const moment = await post(`/api/machines/${machine}/moments`, {});
      const visits = { visitors, minutes: 10, cpu_percent: 50, memory_mib: 32 };
      const shares = `/api/machines/${moment.id}/shares`;
      return (await post(shares, { role: "driver", visits })).url;
    },
    [machine, visitors],
  );
}

/** The address of a page of another site with this in it. */
export async function otherSite(snippet) {
  const site = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end(`<!doctype html><title>A blog</title><p>A page</p>${snippet}`);
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  // It ends with the tests.
  site.unref();
  return `http://127.0.0.1:${site.address().port}/`;
}

export async function closeDialog(page) {
  await page.getByRole("dialog").getByRole("button", { name: "Close", exact: true }).click();
}
