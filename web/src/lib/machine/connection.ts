// The line to a machine: opens it, notices when it is dead, opens it again, and carries keystrokes
// so that each is applied exactly once. Knows positions, so that coming back costs only what was
// missed. Shows nothing.

import { putAside, randomHex, takeAside } from "../memory.ts";
import {
  type ClientMessage,
  type Gone,
  type Output,
  parseFrame,
  parseServerMessage,
  type Picture,
  type ServerMessage,
  VERSION,
  type Welcome,
} from "../protocol.ts";
import { openSocket, Retry, RETRY_MS_LAST } from "../retry.ts";
import { KeyQueue } from "./keys.ts";

/** `lost`: broken, and being opened again. `gone`: ended for good. */
export type Line = "opening" | "open" | "lost" | "gone";

export type Listener = {
  message(message: ServerMessage): void;
  frame(frame: Output | Picture): void;
  line(line: Line): void;
  /** How many keystrokes wait for an answer. */
  kept(keystrokes: number): void;
  lag(milliseconds: number): void;
};

/** A short break is not worth a word. */
const PATIENCE_MS = 1000;
const CONNECT_MS_MAX = 4000;
const PING_MS = 3000;
const PONG_MS_MAX = 4000;
/** The server is told about drawn output in steps, well below what it lets run ahead. */
const DRAWN_STEP_BYTES = 64 << 10;

type Timer = ReturnType<typeof setTimeout> | undefined;

export class Connection {
  readonly #machine: string;
  readonly #bearer: string | null;
  readonly #listener: Listener;
  readonly #keys: KeyQueue;
  #socket: WebSocket | null = null;
  #line: Line = "opening";
  /** This line has been welcomed. */
  #isWelcome = false;
  #run: string | null = null;
  /** The terminal that is shown, and the position after its last byte received. */
  #watched: number | null = null;
  #seen: number | null = null;
  #drawn = 0;
  #chat = 0;
  #lag: number | null = null;
  #ping: { nonce: number; at: number } | null = null;
  #nonce = 0;
  readonly #retry = new Retry(() => this.#reopen());
  #patience: Timer;
  #deadline: Timer;
  readonly #end = new AbortController();

  constructor(machine: string, bearer: string | null, listener: Listener) {
    this.#machine = machine;
    this.#bearer = bearer;
    this.#listener = listener;
    this.#keys = keysOf(machine);
    const { signal } = this.#end;
    window.addEventListener("online", () => this.#hurry(), { signal });
    document.addEventListener("visibilitychange", () => this.#look(), { signal });
    window.addEventListener("pagehide", () => this.#putAside(), { signal });
    window.addEventListener("pageshow", () => takeAside(asideKey(machine)), { signal });
    this.#open();
  }

  /** Types at a terminal, now or when the line is back; false when too much waits already. */
  type(console: number, bytes: Uint8Array): boolean {
    const isTaken = this.#keys.push(console, bytes);
    this.#flush();
    return isTaken;
  }

  send(message: ClientMessage): void {
    if (this.#isWelcome && this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify(message));
    }
  }

  /** Shows another terminal: it begins with a picture. */
  watch(console: number): void {
    if (this.#watched === console) return;
    if (this.#watched !== null) this.send({ type: "unwatch", console: this.#watched });
    this.#watched = console;
    this.#seen = null;
    this.#drawn = 0;
    this.send({ type: "watch", console });
  }

  /** The terminal has been drawn up to a position. */
  drawn(console: number, position: number): void {
    if (console !== this.#watched || position - this.#drawn < DRAWN_STEP_BYTES) return;
    this.#drawn = position;
    this.send({ type: "drawn", console, position });
  }

  /** Tries once more after the end. */
  again(): void {
    if (this.#line !== "gone") return;
    this.#set("opening");
    this.#open();
  }

  close(): void {
    this.#end.abort();
    this.#line = "gone";
    this.#retry.cancel();
    for (const timer of [this.#patience, this.#deadline]) clearTimeout(timer);
    this.#drop();
  }

  #open(): void {
    const socket = openSocket(`/api/machines/${this.#machine}/live`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#join(socket);
    socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
      if (socket !== this.#socket) return;
      if (typeof event.data === "string") this.#hear(event.data);
      else this.#receive(event.data);
    };
    socket.onclose = () => socket === this.#socket && this.#lose();
    this.#socket = socket;
    this.#within(CONNECT_MS_MAX);
  }

  #join(socket: WebSocket): void {
    const message: ClientMessage = {
      type: "join",
      version: VERSION,
      page: this.#keys.page,
      chat: this.#chat,
    };
    if (this.#bearer !== null) message.bearer = this.#bearer;
    if (this.#run !== null) {
      message.run = this.#run;
      if (this.#watched !== null && this.#seen !== null) {
        message.seen = { [this.#watched]: this.#seen };
      }
    }
    socket.send(JSON.stringify(message));
  }

  #hear(text: string): void {
    const message = parseServerMessage(text);
    if (!message) return;
    switch (message.type) {
      case "welcome":
        if (message.version !== VERSION) return void this.#outdated();
        return this.#greet(message);
      case "applied":
        this.#keys.applied(message.number);
        return this.#flush();
      case "refused":
        this.#keys.refused(message.number);
        this.#flush();
        return this.#listener.message(message);
      case "pong":
        return this.#hearPong(message.nonce);
      case "chat":
        this.#chat = message.said.reduce((last, { id }) => Math.max(last, id), this.#chat);
        return this.#listener.message(message);
      case "gone":
        this.#leave(message.reason);
        return this.#listener.message(message);
      default:
        return this.#listener.message(message);
    }
  }

  #greet(welcome: Welcome): void {
    clearTimeout(this.#patience);
    this.#patience = undefined;
    this.#retry.succeed();
    const isSameRun = this.#run === welcome.run;
    this.#run = welcome.run;
    this.#isWelcome = true;
    this.#set("open");
    this.#listener.message(welcome);
    // What this page said it has seen is sent on by itself; everything else has to be asked for.
    if (this.#watched !== null && !(isSameRun && this.#seen !== null)) {
      this.#drawn = 0;
      this.send({ type: "watch", console: this.#watched });
    }
    this.#keys.resume(welcome.applied);
    this.#flush();
    this.send({ type: "away", away: document.hidden });
    this.#sendPing();
  }

  #receive(buffer: ArrayBuffer): void {
    const frame = parseFrame(buffer);
    if (!frame || frame.console !== this.#watched) return;
    if (frame.kind === "picture") {
      this.#seen = frame.position;
      this.#drawn = frame.position;
    } else {
      // Before its picture, or what a line that is gone had sent already.
      if (this.#seen === null || frame.position < this.#seen) return;
      this.#seen = frame.position + frame.bytes.length;
    }
    this.#listener.frame(frame);
  }

  #flush(): void {
    if (this.#isWelcome && this.#socket?.readyState === WebSocket.OPEN) {
      for (const { frame } of this.#keys.take()) this.#socket.send(frame);
    }
    this.#listener.kept(this.#keys.length);
  }

  #sendPing(): void {
    if (!this.#isWelcome) return;
    this.#nonce = (this.#nonce + 1) >>> 0;
    this.#ping = { nonce: this.#nonce, at: performance.now() };
    this.send({ type: "ping", nonce: this.#nonce, lag_ms: this.#lag });
    this.#within(PONG_MS_MAX);
  }

  #hearPong(nonce: number): void {
    if (this.#ping?.nonce !== nonce) return;
    this.#lag = Math.round(performance.now() - this.#ping.at);
    this.#ping = null;
    this.#listener.lag(this.#lag);
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#sendPing(), PING_MS);
  }

  /** Gives the line up unless something comes of it within so many milliseconds. */
  #within(milliseconds: number): void {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#lose(), milliseconds);
  }

  /** The network is back, it says: a line that is open may be dead, one that is not may open. */
  #hurry(): void {
    if (this.#line === "gone") return;
    this.#retry.succeed();
    if (!this.#isWelcome) return this.#reopen();
    this.#sendPing();
    this.#within(RETRY_MS_LAST);
  }

  #look(): void {
    if (!document.hidden && !this.#isWelcome) this.#hurry();
    this.send({ type: "away", away: document.hidden });
  }

  #lose(): void {
    this.#drop();
    if (this.#line === "gone") return;
    // A word about it comes only when it lasts.
    this.#patience ??= setTimeout(() => this.#set("lost"), PATIENCE_MS);
    this.#retry.later();
  }

  #reopen(): void {
    this.#retry.cancel();
    this.#drop();
    this.#open();
  }

  /** The server has said the last word. */
  #leave(reason: Gone): void {
    const wasWelcome = this.#isWelcome;
    this.#drop();
    if (reason === "closing") return wasWelcome ? this.#lose() : void this.#outdated();
    clearTimeout(this.#patience);
    this.#keys.clear();
    this.#set("gone");
  }

  /** Forgets the socket, so that nothing more is heard of it. */
  #drop(): void {
    clearTimeout(this.#deadline);
    const socket = this.#socket;
    this.#socket = null;
    this.#isWelcome = false;
    this.#ping = null;
    socket?.close();
  }

  #set(line: Line): void {
    this.#line = line;
    this.#listener.line(line);
  }

  /** The server speaks otherwise: where it has another page by now, that one is loaded. */
  async #outdated(): Promise<void> {
    this.#lose();
    const own = document.querySelector("script[type=module]")?.getAttribute("src");
    const answer = await fetch("/").catch(() => null);
    const page = answer?.ok ? await answer.text() : null;
    if (own && page !== null && !page.includes(own)) location.reload();
  }

  #putAside(): void {
    putAside(asideKey(this.#machine), this.#keys.aside());
  }
}

const asideKey = (machine: string) => `keys ${machine}`;

/**
 * The page's name, its numbers and what nobody has spoken for go on where its last load ended; a
 * copy of a tab finds nothing here, and so is another page.
 */
function keysOf(machine: string): KeyQueue {
  const aside = takeAside(asideKey(machine));
  return (aside !== null && KeyQueue.from(aside)) || new KeyQueue(randomHex(16), 1);
}
