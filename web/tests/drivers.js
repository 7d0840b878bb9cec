// Browsers that are not Chromium, each with one page, behind one face: Firefox by WebDriver BiDi,
// WebKit by W3C WebDriver. Stock builds of Debian's, which playwright-core cannot drive.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import WebSocket from "ws";

/** Keys that are not characters, by WebDriver's names. */
const KEYS = { Enter: "\uE007", Control: "\uE009" };

/** Keys that are pressed together: down in order, up in reverse. */
function strokes(keys) {
  const values = keys.map((key) => KEYS[key] ?? key);
  return [
    ...values.map((value) => ({ type: "keyDown", value })),
    ...values.toReversed().map((value) => ({ type: "keyUp", value })),
  ];
}
const keyActions = (actions) => [{ type: "key", id: "keyboard", actions }];

/** A line of a program's output that matches, and its first group. */
function lineOf(stream, pattern) {
  const lines = createInterface({ input: stream });
  return new Promise((resolve, reject) => {
    const said = [];
    lines.on("line", (line) => {
      said.push(line);
      const [, found] = pattern.exec(line) ?? [];
      if (found !== undefined) resolve(found);
    });
    lines.once("close", () => reject(new Error(`it ended: ${said.join("\n")}`)));
  });
}

async function end(child) {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill();
  await ended;
}

/** A browser that has begun; one that cannot leaves nothing running. */
async function begun(browser, begin) {
  try {
    await begin();
    return browser;
  } catch (error) {
    await browser.close();
    throw error;
  }
}

/** Debian's Firefox, without a window; `FIREFOX` names another. */
export class Firefox {
  #child;
  #profile;
  #socket;
  #context;
  #asked = new Map();
  #complaints = [];

  static async launch() {
    const firefox = new Firefox();
    return begun(firefox, () => firefox.#begin());
  }

  async #begin() {
    this.#profile = await mkdtemp(join(tmpdir(), "stackvm-firefox-"));
    const args = ["--headless", "--profile", this.#profile, "--remote-debugging-port", "0"];
    const stdio = ["ignore", "ignore", "pipe"];
    this.#child = spawn(process.env.FIREFOX ?? "firefox-esr", args, { stdio });
    const address = await lineOf(this.#child.stderr, /BiDi listening on (\S+)/);
    this.#socket = new WebSocket(`${address}/session`);
    await new Promise((resolve, reject) => {
      this.#socket.once("open", resolve).once("error", reject);
    });
    this.#socket.on("message", (text) => this.#hear(JSON.parse(text)));
    await this.#ask("session.new", { capabilities: {} });
    await this.#ask("session.subscribe", { events: ["log.entryAdded"] });
    const { contexts } = await this.#ask("browsingContext.getTree", {});
    this.#context = contexts[0].context;
  }

  #ask(method, params) {
    const id = this.#asked.size + 1;
    const answer = new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
    this.#socket.send(JSON.stringify({ id, method, params }));
    return answer;
  }

  #hear(message) {
    if (message.type === "event") {
      const { level, text } = message.params;
      if (level === "error") this.#complaints.push(text);
      return;
    }
    const { resolve, reject } = this.#asked.get(message.id);
    if (message.type === "success") resolve(message.result);
    else reject(new Error(`${message.error}: ${message.message}`));
  }

  async goto(url) {
    const params = { context: this.#context, url, wait: "complete" };
    await this.#ask("browsingContext.navigate", params);
  }

  /** The value of an expression in the page, as JSON has it. */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.#ask("script.evaluate", {
      expression: `JSON.stringify(${expression})`,
      target: { context: this.#context },
      awaitPromise: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return result.value === undefined ? undefined : JSON.parse(result.value);
  }

  /** What the page and the browser complained about. */
  async complaints() {
    return this.#complaints;
  }

  async press(...keys) {
    const actions = keyActions(strokes(keys));
    await this.#ask("input.performActions", { context: this.#context, actions });
  }

  async close() {
    this.#socket?.close();
    await end(this.#child);
    if (this.#profile) await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** WebKitGTK's own small browser on a display that nobody sees: what phones from Apple have. */
export class WebKit {
  #display;
  #driver;
  #session = "";

  static async launch() {
    const webkit = new WebKit();
    return begun(webkit, () => webkit.#begin());
  }

  async #begin() {
    const screen = ["-displayfd", "3", "-screen", "0", "1280x900x24"];
    this.#display = spawn("Xvfb", screen, { stdio: ["ignore", "ignore", "ignore", "pipe"] });
    const display = await lineOf(this.#display.stdio[3], /^(\d+)$/);
    const env = { ...process.env, DISPLAY: `:${display}`, GDK_BACKEND: "x11" };
    const port = await freePort();
    const stdio = ["ignore", "inherit", "inherit"];
    this.#driver = spawn("WebKitWebDriver", [`--port=${port}`], { env, stdio });
    this.#session = `http://127.0.0.1:${port}/session`;
    const options = { args: ["--automation"] };
    const alwaysMatch = { "webkitgtk:browserOptions": options };
    const { sessionId } = await this.#first({ capabilities: { alwaysMatch } });
    this.#session += `/${sessionId}`;
  }

  /** The first request, which is asked again until the driver listens. */
  async #first(body) {
    for (;;) {
      try {
        return await this.#ask("POST", "", body);
      } catch (error) {
        if (error.cause?.code !== "ECONNREFUSED" || this.#driver.exitCode !== null) throw error;
      }
    }
  }

  async #ask(method, path, body) {
    const request = { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    const { value } = await (await fetch(this.#session + path, request)).json();
    if (value?.error) throw new Error(`${value.error}: ${value.message}`);
    return value;
  }

  async goto(url) {
    await this.#ask("POST", "/url", { url });
    await this.evaluate(`(${listen})()`);
  }

  async complaints() {
    return this.evaluate("window.complaints");
  }

  async resize(width, height) {
    await this.#ask("POST", "/window/rect", { width, height });
  }

  async evaluate(expression) {
    return this.#ask("POST", "/execute/sync", { script: `return ${expression}`, args: [] });
  }

  async press(...keys) {
    await this.#ask("POST", "/actions", { actions: keyActions(strokes(keys)) });
  }

  async close() {
    if (this.#session !== "") await this.#ask("DELETE", "").catch(() => {});
    await end(this.#driver);
    await end(this.#display);
  }
}

/** Runs in the page, as WebKit's driver tells nothing of its console: from the page's load on. */
function listen() {
  window.complaints = [];
  const hear = (what) => window.complaints.push(String(what));
  addEventListener("error", (event) => hear(event.message), true);
  addEventListener("unhandledrejection", (event) => hear(event.reason));
  addEventListener("securitypolicyviolation", (event) => hear(event.violatedDirective));
  console.error = (...words) => hear(words.join(" "));
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return String(port);
}
