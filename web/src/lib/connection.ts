// The line to the server: opens it, opens it again when it breaks, and keeps what is typed
// meanwhile. Knows positions, so that coming back costs only what was missed. Shows nothing.

import {
  type ClientMessage,
  CLIENT_MESSAGE_BYTES_MAX,
  inputFrame,
  type Output,
  parseOutput,
  parseServerMessage,
  type Screen,
  SCREENS,
  type ServerMessage,
  VERSION,
} from "./protocol.ts";
import { admission } from "./session.ts";

/** `lost`: broken, and being opened again. `out`: this browser needs a new link. */
export type Line = "opening" | "open" | "lost" | "out";

export type Listener = {
  message(message: ServerMessage): void;
  /** `isPast`: written before this page came. */
  output(output: Output, isPast: boolean): void;
  /** The run is another one, or a screen begins anew. */
  clear(screen: Screen): void;
  line(line: Line, keptBytes: number): void;
};

const RETRY_MS_FIRST = 200;
const RETRY_MS_LAST = 3000;
/** A short break is not worth a word. */
const PATIENCE_MS = 1000;
/** What is typed while the line is lost, at most. */
const KEPT_BYTES_MAX = 4096;
/** The server is told about drawn output in steps, well below what it lets run ahead. */
const DRAWN_STEP_BYTES = 64 << 10;

export class Connection {
  #listener: Listener;
  #socket: WebSocket | null = null;
  #line: Line = "opening";
  #run: string | null = null;
  #live = [0, 0];
  /** The position after the last byte received, by screen. */
  #seen = [0, 0];
  #drawn = [0, 0];
  #kept: Uint8Array<ArrayBuffer>[] = [];
  #retryMs = RETRY_MS_FIRST;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #patience: ReturnType<typeof setTimeout> | undefined;
  #size: ClientMessage | null = null;

  constructor(listener: Listener) {
    this.#listener = listener;
    const now = () => this.#line === "lost" && this.#reopen();
    window.addEventListener("online", now);
    document.addEventListener("visibilitychange", () => document.hidden || now());
    this.#open();
  }

  /** Types at a screen, now or when the line is back. */
  type(screen: Screen, bytes: Uint8Array): void {
    const step = CLIENT_MESSAGE_BYTES_MAX - 1;
    for (let at = 0; at < bytes.length; at += step) {
      const frame = inputFrame(screen, bytes.subarray(at, at + step));
      if (this.#isOpen()) this.#socket?.send(frame);
      else this.#keep(frame);
    }
  }

  send(message: ClientMessage): void {
    // The size is said again on every new line.
    if (message.type === "resize") this.#size = message;
    if (this.#isOpen()) this.#socket?.send(JSON.stringify(message));
  }

  /** A screen has been drawn up to a position. */
  drawn(screen: Screen, position: number): void {
    const at = SCREENS.indexOf(screen);
    if (position - (this.#drawn[at] ?? 0) < DRAWN_STEP_BYTES) return;
    this.#drawn[at] = position;
    this.send({ type: "drawn", screen, position });
  }

  #isOpen(): boolean {
    return this.#line === "open" && this.#socket?.readyState === WebSocket.OPEN;
  }

  #keep(frame: Uint8Array<ArrayBuffer>): void {
    if (this.#keptBytes() + frame.length - 1 > KEPT_BYTES_MAX) return;
    this.#kept.push(frame);
    this.#listener.line(this.#line, this.#keptBytes());
  }

  #keptBytes(): number {
    return this.#kept.reduce((sum, frame) => sum + frame.length - 1, 0);
  }

  #open(): void {
    const place = new URL("/api/machine", location.href);
    place.protocol = "ws:";
    if (this.#run !== null) {
      place.searchParams.set("run", this.#run);
      SCREENS.forEach((screen, at) => place.searchParams.set(screen, String(this.#seen[at])));
    }
    const socket = new WebSocket(place);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
      if (typeof event.data === "string") this.#hear(event.data);
      else this.#receive(event.data);
    };
    socket.onclose = () => this.#lose();
    this.#socket = socket;
  }

  #hear(text: string): void {
    const message = parseServerMessage(text);
    if (!message) return;
    if (message.type === "hello") {
      // The server is newer than this page.
      if (message.version !== VERSION) return location.reload();
      this.#greet(message.run, message.live);
    }
    if (message.type === "gap") this.#listener.clear(message.screen);
    this.#listener.message(message);
  }

  #greet(run: string, live: number[]): void {
    clearTimeout(this.#patience);
    this.#patience = undefined;
    this.#retryMs = RETRY_MS_FIRST;
    if (this.#run !== null && this.#run !== run) {
      // Another server: what was typed was meant for a machine that is gone.
      this.#kept = [];
      this.#seen = [0, 0];
      SCREENS.forEach((screen) => this.#listener.clear(screen));
    }
    this.#run = run;
    this.#live = live;
    this.#drawn = [...this.#seen];
    this.#set("open");
    if (this.#size) this.send(this.#size);
    for (const frame of this.#kept.splice(0)) this.#socket?.send(frame);
    this.#listener.line("open", 0);
  }

  #receive(frame: ArrayBuffer): void {
    const output = parseOutput(frame);
    if (!output) return;
    const at = SCREENS.indexOf(output.screen);
    this.#seen[at] = output.position + output.bytes.length;
    this.#listener.output(output, output.position < (this.#live[at] ?? 0));
  }

  #lose(): void {
    this.#socket = null;
    if (this.#line === "out") return;
    // Typing is kept from this moment; a word about it comes only when it lasts.
    if (this.#line === "open") this.#line = "opening";
    this.#patience ??= setTimeout(() => this.#set("lost"), PATIENCE_MS);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#reopen(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_LAST);
  }

  async #reopen(): Promise<void> {
    clearTimeout(this.#retry);
    if (this.#socket) return;
    // A WebSocket does not say why it was refused; this does.
    const answer = await admission();
    if (this.#socket) return;
    if (answer === "in") return this.#open();
    if (answer === "out") {
      clearTimeout(this.#patience);
      return this.#set("out");
    }
    this.#lose();
  }

  #set(line: Line): void {
    this.#line = line;
    this.#listener.line(line, this.#keptBytes());
  }
}
