// The tests' two sides: a server with a machine that plays a part, and a browser.

import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
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

/** A server of crates/server/examples/scripted.rs, which says what it understands. */
export class Scripted {
  #child;
  #lines;

  static async start(...args) {
    const server = new Scripted();
    server.#child = spawn(binary(), args, { stdio: ["pipe", "pipe", "inherit"] });
    server.#lines = createInterface({ input: server.#child.stdout })[Symbol.asyncIterator]();
    server.url = await server.#line();
    server.origin = new URL(server.url).origin;
    return server;
  }

  /** Gives an order and waits until it is carried out; returns what the server says to it. */
  async order(text) {
    this.#child.stdin.write(`${text}\n`);
    const said = [];
    for (;;) {
      const line = await this.#line();
      if (line === "ok") return said.join("\n");
      said.push(line);
    }
  }

  /** Brings the machine to its prompt. */
  async boot() {
    await this.order("ready");
    await this.order("log [    0.000000] Linux version 6.12.48+deb13-riscv64\\n");
    await this.order("prompt");
  }

  async stop() {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin.end();
    await ended;
  }

  async #line() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the scripted server ended");
    return value;
  }
}

let scripted;
function binary() {
  scripted ??= process.env.SCRIPTED_SERVER ?? build("stackvm-server", "--example", "scripted");
  return scripted;
}

/** Builds a program of the workspace as `make` does; returns its path. */
export function build(packageName, kind, name) {
  // The server has the pages inside.
  if (!existsSync(`${ROOT}/web/dist/index.html`)) {
    execFileSync("npm", ["run", "build"], { cwd: `${ROOT}/web`, stdio: "ignore" });
  }
  const args = ["build", "-q", "--release", "--message-format", "json", "-p", packageName];
  const messages = execFileSync("cargo", [...args, kind, name], {
    cwd: ROOT,
    maxBuffer: 1 << 28,
  }).toString();
  const artifacts = messages
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  return artifacts.findLast((it) => it.target?.name === name && it.executable).executable;
}

/** A new browser profile with one page that keeps what the browser complains about. */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") page.complaints.push(message.text());
  });
  await page.goto(url);
  return page;
}

/** The text of the terminal's picture, without blank lines. */
export async function picture(page, screen = "Terminal") {
  const rows = await page
    .locator(`section[aria-label="${screen}"] .xterm-rows > div`)
    .allInnerTexts();
  return rows.map((row) => row.replaceAll("\u00a0", " ").trimEnd()).filter((row) => row !== "");
}

/** Waits until the terminal's picture satisfies `wanted`, and returns it. */
export async function pictureWhere(page, wanted, screen = "Terminal") {
  const end = Date.now() + WAIT_MS;
  for (;;) {
    const rows = await picture(page, screen);
    if (wanted(rows)) return rows;
    if (Date.now() > end) throw new Error(`not seen in time; the picture is:\n${rows.join("\n")}`);
    // The next frame the browser draws is the next that can differ.
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
}

/** Types a line and its Enter. */
export async function typeLine(page, line) {
  await page.locator('section[aria-label="Terminal"] textarea').focus();
  await page.keyboard.type(line);
  await page.keyboard.press("Enter");
}
