// A viewer who drags through a machine's past, without a browser: asks for what a page asks for
// (web/src/lib/past/past.svelte.ts), when it does.

import { Agent, get } from "node:http";
import { rest } from "./measure.mjs";
import { Viewer } from "./viewer.mjs";

/** Between one picture and the next wish. */
const PAUSE_MS = 100;
/** Who rests so long wants the exact state, and goes on some time later whether it is there or not. */
const REST_MS = 300;
const PATIENCE_MS = 1700;
/** One wish in so many is a rest. */
const RESTS = 10;

export class Dragger {
  #way;
  #socket;
  #next;
  #agent;
  #isDragging = false;
  /** Milliseconds of each answer. */
  pictures = [];
  states = [];
  /** Other answers, and how often. */
  others = new Map();

  /** The server counts requests by address, and twenty people have twenty. */
  static async join(way, at, next) {
    const dragger = new Dragger();
    dragger.#way = way;
    dragger.#next = next;
    dragger.#agent = new Agent({ keepAlive: true, localAddress: `127.0.0.${at + 2}` });
    dragger.#socket = await Viewer.join(way);
    return dragger;
  }

  /** Drags until told to stop. */
  async drag() {
    this.#isDragging = true;
    const { begin_ns, end_ns } = JSON.parse((await this.#ask("/timeline")).text);
    while (this.#isDragging) {
      const at = Math.floor(begin_ns + this.#next() * (end_ns - begin_ns));
      await this.#timed(this.pictures, `/picture?at_ns=${at}&console=0`);
      if (this.#next() < 1 / RESTS) {
        await rest(REST_MS);
        await this.#timed(this.states, `/state?at_ns=${at}&console=0`, PATIENCE_MS);
      }
      await rest(PAUSE_MS);
    }
  }

  stop() {
    this.#isDragging = false;
  }

  close() {
    this.#socket.close();
    this.#agent.destroy();
  }

  async #timed(times, path, patience) {
    const start = performance.now();
    const { status, text } = await this.#ask(path, patience);
    const isThere = status === 200 && text !== "null";
    if (isThere) return times.push(performance.now() - start);
    const what = `${status === 200 ? "superseded" : status}`;
    this.others.set(what, (this.others.get(what) ?? 0) + 1);
  }

  #ask(path, patience) {
    const { origin, bearer, machine } = this.#way;
    const headers = { authorization: `Bearer ${bearer}`, origin };
    const signal = patience ? AbortSignal.timeout(patience) : undefined;
    return new Promise((resolve, reject) => {
      const fail = (error) =>
        signal?.aborted ? resolve({ status: "given up" }) : reject(error);
      const options = { agent: this.#agent, headers, signal };
      const asked = get(`${origin}/api/machines/${machine}${path}`, options, (answer) => {
        let text = "";
        answer.setEncoding("utf8");
        answer.on("data", (part) => (text += part));
        answer.on("end", () => resolve({ status: answer.statusCode, text }));
        answer.on("error", fail);
      });
      asked.on("error", fail);
    });
  }
}
