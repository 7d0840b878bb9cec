// What this page knows of the machine, for its components to show.

import { Connection, type Line } from "./connection.ts";
import type { MachineState, Progress, Screen as ScreenName, ServerMessage } from "./protocol.ts";
import { Screen } from "./terminal.ts";

/** A phase of the preparation that is over. */
export type DonePhase = { phase: string; bytes: number };

/** What people read for each state. */
export const WORDS: Record<MachineState, string> = {
  preparing: "preparing",
  starting: "starting",
  booting: "booting",
  running: "running",
  paused: "paused",
  stopped: "off",
  failed: "not running",
};

export class Machine {
  name = $state("");
  image = $state("");
  state = $state<MachineState | null>(null);
  detail = $state("");
  progress = $state<Progress | null>(null);
  donePhases = $state<DonePhase[]>([]);
  fault = $state<{ what: string; action: string } | null>(null);
  size = $state<{ columns: number; rows: number; yours: boolean } | null>(null);
  line = $state<Line>("opening");
  keptBytes = $state(0);
  /** Shown until somebody has read it. */
  notice = $state<string | null>(null);
  /** The log has said something. */
  hasLog = $state(false);

  readonly screens: Record<ScreenName, Screen>;
  #connection: Connection;

  constructor() {
    this.screens = {
      terminal: new Screen({
        onInput: (bytes) => this.#connection.type("terminal", bytes),
        onWish: (wish) => this.#connection.send({ type: "resize", ...wish }),
      }),
      log: new Screen({ onInput: null, onWish: () => {} }),
    };
    this.#connection = new Connection({
      message: (message) => this.#hear(message),
      output: ({ screen, position, bytes }, isPast) => {
        if (screen === "log") this.hasLog = true;
        const end = position + bytes.length;
        const drawn = () => this.#connection.drawn(screen, end);
        this.screens[screen].write(bytes, isPast, drawn);
      },
      clear: (screen) => this.screens[screen].clear(),
      line: (line, keptBytes) => {
        this.line = line;
        this.keptBytes = keptBytes;
      },
    });
  }

  start(): void {
    this.#connection.send({ type: "power", action: "start" });
  }

  /** Asks its system to switch off. */
  shutDown(): void {
    this.#connection.send({ type: "power", action: "shutdown" });
  }

  /** As pulling the plug. */
  kill(): void {
    this.#connection.send({ type: "power", action: "kill" });
  }

  #hear(message: ServerMessage): void {
    switch (message.type) {
      case "hello":
        this.name = message.machine;
        this.image = message.image;
        break;
      case "state":
        this.state = message.state;
        this.detail = message.detail;
        this.fault = null;
        if (message.state === "preparing") {
          this.progress = null;
          this.donePhases = [];
        }
        break;
      case "progress":
        this.#advance(message);
        break;
      case "size":
        this.size = message;
        this.screens.terminal.isAnswering = message.yours;
        this.screens.terminal.setSize(message);
        break;
      case "error":
        this.fault = message;
        break;
      case "notice":
        this.notice = message.text;
        break;
      case "gap":
        break;
    }
  }

  #advance(next: Progress): void {
    const last = this.progress;
    if (last && last.phase !== next.phase) {
      const bytes = last.total_bytes ?? last.done_bytes;
      this.donePhases = [...this.donePhases, { phase: last.phase, bytes }].slice(-6);
    }
    this.progress = next;
  }
}
