// A viewer without a browser: a WebSocket on a plain socket, so that it can read as slowly as it
// likes. Speaks as much of the protocol as looking takes (web/src/lib/protocol.ts).

import { once } from "node:events";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import net from "node:net";

/** The protocol's version, as its examples say it. */
const EXAMPLES = new URL("../../web/tests/protocol.json", import.meta.url);
const { version: VERSION } = JSON.parse(readFileSync(EXAMPLES)).client.find(
  ({ type }) => type === "join",
);
/** As a page does: well below what the server lets run ahead. */
const DRAWN_STEP_BYTES = 64 << 10;
const OUTPUT_HEADER_BYTES = 10;
const OUTPUT = 0;
const PICTURE = 1;
const OPCODE = { text: 1, close: 8, ping: 9, pong: 10 };

/** Opens a link, and returns what a viewer's socket needs. */
export async function enter(link) {
  const { origin, pathname, hash } = new URL(link);
  const share = pathname.split("/").at(-1);
  const answer = await fetch(`${origin}/api/session`, {
    method: "POST",
    headers: { "content-type": "application/json", origin },
    body: JSON.stringify({ share, secret: hash.slice(1), bearer: true }),
  });
  if (!answer.ok) throw new Error(`the link did not open: ${answer.status} ${await answer.text()}`);
  const { bearer, machine } = await answer.json();
  return { origin, bearer, machine };
}

export class Viewer {
  #socket;
  #rest = Buffer.alloc(0);
  #drawn = 0;
  #pings = new Map();
  #nonce = 0;
  /** Bytes of terminal output so far, and of everything. */
  output = 0;
  read = 0;
  #seePicture;
  #seeWelcome;
  /** What it was told last: why, if it is sent away. */
  #last = "";
  /** The first picture of the terminal, as text with control sequences. */
  picture = new Promise((resolve) => (this.#seePicture = resolve));
  /** Milliseconds that pings took there and back. */
  lags = [];

  /** At most so many bytes a second are read, if it is said how many. */
  static async join({ origin, bearer, machine }, bytesPerSecond = Infinity) {
    const viewer = new Viewer();
    const { hostname, port, host } = new URL(origin);
    // A slow one must not read ahead into memory of its own.
    const buffer = bytesPerSecond === Infinity ? {} : { readableHighWaterMark: 1024 };
    viewer.#socket = net.connect({ host: hostname, port: Number(port), ...buffer });
    await once(viewer.#socket, "connect");
    viewer.#socket.on("error", () => {});
    viewer.#socket.write(
      [
        `GET /api/machines/${machine}/live HTTP/1.1`,
        `Host: ${host}`,
        `Origin: ${origin}`,
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
        "\r\n",
      ].join("\r\n"),
    );
    await viewer.#passHead();
    viewer.#say({ type: "join", version: VERSION, page: randomHex(16), bearer, chat: 0 });
    viewer.#say({ type: "watch", console: 0 });
    const welcome = new Promise((resolve, reject) => {
      viewer.#seeWelcome = resolve;
      const refused = () => reject(new Error(`a viewer was not let in: ${viewer.#last}`));
      viewer.#socket.once("close", refused);
    });
    viewer.#follow(bytesPerSecond);
    await welcome;
    return viewer;
  }

  get isOpen() {
    return !this.#socket.destroyed;
  }

  ping() {
    const nonce = (this.#nonce += 1);
    this.#pings.set(nonce, performance.now());
    this.#say({ type: "ping", nonce, lag_ms: null });
  }

  close() {
    this.#socket.destroy();
  }

  async #passHead() {
    let head = Buffer.alloc(0);
    while (head.indexOf("\r\n\r\n") < 0) {
      await once(this.#socket, "readable");
      head = Buffer.concat([head, this.#socket.read() ?? Buffer.alloc(0)]);
    }
    if (!head.toString().startsWith("HTTP/1.1 101")) throw new Error(head.toString());
    this.#rest = head.subarray(head.indexOf("\r\n\r\n") + 4);
  }

  #follow(bytesPerSecond) {
    if (bytesPerSecond === Infinity) {
      this.#socket.on("data", (bytes) => this.#take(bytes));
      return;
    }
    const turn = setInterval(() => {
      const bytes = this.#socket.read(bytesPerSecond) ?? this.#socket.read();
      if (bytes) this.#take(bytes);
    }, 1000);
    this.#socket.once("close", () => clearInterval(turn));
  }

  #take(bytes) {
    this.read += bytes.length;
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    for (let frame = this.#next(); frame; frame = this.#next()) this.#hear(frame);
  }

  /** The next whole frame; a server's frames are not masked. */
  #next() {
    const rest = this.#rest;
    if (rest.length < 2) return null;
    let length = rest[1] & 0x7f;
    let start = 2;
    if (length === 126) {
      if (rest.length < 4) return null;
      length = rest.readUInt16BE(2);
      start = 4;
    } else if (length === 127) {
      if (rest.length < 10) return null;
      length = Number(rest.readBigUInt64BE(2));
      start = 10;
    }
    if (rest.length < start + length) return null;
    this.#rest = rest.subarray(start + length);
    return { opcode: rest[0] & 0x0f, payload: rest.subarray(start, start + length) };
  }

  #hear({ opcode, payload }) {
    if (opcode === OPCODE.close) return this.close();
    if (opcode === OPCODE.ping) return this.#send(OPCODE.pong, payload);
    if (opcode === OPCODE.text) {
      this.#last = payload.toString();
      const { type, nonce } = JSON.parse(this.#last);
      if (type === "welcome") this.#seeWelcome();
      const asked = type === "pong" && this.#pings.get(nonce);
      if (asked) this.lags.push(performance.now() - asked);
      this.#pings.delete(nonce);
      return;
    }
    if (payload[0] === PICTURE) this.#seePicture(payload.toString());
    if (payload.length < OUTPUT_HEADER_BYTES || payload[0] !== OUTPUT) return;
    const bytes = payload.length - OUTPUT_HEADER_BYTES;
    const position = Number(payload.readBigUInt64BE(2)) + bytes;
    this.output += bytes;
    if (position - this.#drawn < DRAWN_STEP_BYTES) return;
    this.#drawn = position;
    this.#say({ type: "drawn", console: 0, position });
  }

  #say(message) {
    this.#send(OPCODE.text, Buffer.from(JSON.stringify(message)));
  }

  /** A client's frames are masked; a mask of zeros is one. */
  #send(opcode, payload) {
    if (this.#socket.destroyed) return;
    const head =
      payload.length < 126
        ? [0x80 | opcode, 0x80 | payload.length]
        : [0x80 | opcode, 0x80 | 126, payload.length >> 8, payload.length & 0xff];
    this.#socket.write(Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload]));
  }
}

const randomHex = (bytes) => randomBytes(bytes).toString("hex");
