// What this page knows of a machine, for its components to show, and what it can be told.

import type {
  ConsoleInfo,
  Gone,
  Keyboard,
  MachineState,
  Person,
  Progress,
  Refusal,
  Right,
  Role,
  Said,
  ServerMessage,
  Welcome,
} from "../protocol.ts";
import type { Dimensions, Screen } from "../terminal/screen.ts";
import { instant } from "../format.ts";
import { mayType } from "../together/keyboard.ts";
import { Connection, type Line } from "./connection.ts";

/** A phase of the preparation that is over. */
export type DonePhase = { phase: string; bytes: number };
export type Typist = { console: number; person: number | null; name: string; count: number };

/** Said in the chat that a page keeps. */
const SAID_MAX = 500;
/** Between two times that others are told where this page looks. */
const LOOK_MS = 200;
/** Leaving asks while somebody typed this recently. */
const RECENT_MS = 60_000;

/** Where somebody else looks, and how this page came to be told. */
export type Led = { console: number; at: number | null; by: "followed" | "brought"; count: number };

export class Machine {
  readonly id: string;
  name = $state("");
  image = $state("");
  state = $state<MachineState | null>(null);
  detail = $state("");
  action = $state("");
  progress = $state<Progress | null>(null);
  donePhases = $state<DonePhase[]>([]);
  you = $state<number | null>(null);
  role = $state<Role>("viewer");
  rights = $state<Right[]>([]);
  consoles = $state<ConsoleInfo[]>([]);
  shown = $state(0);
  size = $state<Dimensions | null>(null);
  people = $state<Person[]>([]);
  keyboard = $state<Keyboard>({
    mode: "auto",
    passed: false,
    holder: null,
    waiting: [],
    locked: false,
    left_s: null,
  });
  isDoorLocked = $state(false);
  said = $state<Said[]>([]);
  /** Who typed last; counts, so that the same one again is news too. */
  typist = $state<Typist | null>(null);
  line = $state<Line>("opening");
  gone = $state<Gone | null>(null);
  kept = $state(0);
  lag = $state<number | null>(null);
  notice = $state<string | null>(null);
  /** Why the last key was not typed. */
  refusal = $state<Refusal | null>(null);
  title = $state("");
  /** Whom this page follows. */
  followed = $state<number | null>(null);
  /** Where this page is led; counts, so that the same place again is news too. */
  led = $state.raw<Led | null>(null);
  /** Counts what its terminals showed this page. */
  shownCount = $state(0);

  #screen: Screen | null = null;
  readonly #connection: Connection;
  #wish: Dimensions | null = null;
  /** Where this page looks, which others are told. */
  #view: { console: number; at_ns: number | null } = { console: 0, at_ns: null };
  #teller: ReturnType<typeof setTimeout> | undefined;
  #typedAt = Number.NEGATIVE_INFINITY;
  readonly #onRename: (name: string) => void;

  constructor(
    id: string,
    options: { console: number; bearer: string | null; onRename?: (name: string) => void },
  ) {
    this.id = id;
    this.shown = options.console;
    this.#onRename = options.onRename ?? (() => {});
    this.#connection = new Connection(id, options.bearer, {
      message: (message) => this.#hear(message),
      frame: (frame) => {
        if (frame.kind === "picture") {
          this.size = { columns: frame.columns, rows: frame.rows };
          this.#screen?.begin(this.size);
        }
        this.shownCount += 1;
        const end = frame.position + (frame.kind === "output" ? frame.bytes.length : 0);
        this.#screen?.write(frame.bytes, () => this.#connection.drawn(frame.console, end));
      },
      line: (line) => (this.line = line),
      kept: (keystrokes) => (this.kept = keystrokes),
      lag: (lag) => (this.lag = lag),
    });
  }

  /** Draws on this screen from now on. */
  attach(screen: Screen): void {
    this.#screen = screen;
    this.#connection.watch(this.shown);
  }

  show(console: number): void {
    this.shown = console;
    this.size = null;
    this.#connection.watch(console);
    this.#sayWish();
  }

  wish(wish: Dimensions): void {
    this.#wish = wish;
    this.#sayWish();
  }

  type(bytes: Uint8Array): void {
    this.refusal = this.whyNot;
    if (this.refusal !== null || this.line === "gone") return;
    this.#typedAt = performance.now();
    if (!this.#connection.type(this.shown, bytes)) {
      this.notice = "That was too much at once: nothing of it was typed. Paste less, or a file.";
    }
  }

  /** Why this person cannot type now; null if they can. */
  get whyNot(): Refusal | null {
    if (!this.consoles[this.shown]?.typable) return "no_right";
    return mayType(this.keyboard, this.you, this.rights, this.role);
  }

  get me(): Person | undefined {
    return this.people.find(({ id }) => id === this.you);
  }

  may(right: Right): boolean {
    return this.rights.includes(right);
  }

  personOf(id: number | null): Person | undefined {
    return this.people.find((person) => person.id === id);
  }

  get wasTypedLately(): boolean {
    return this.idleMs < RECENT_MS;
  }

  /** Milliseconds since this page typed last. */
  get idleMs(): number {
    return performance.now() - this.#typedAt;
  }

  readonly rename = (name: string) => {
    this.#connection.send({ type: "rename", name });
    this.#onRename(name);
  };
  /** Of the present, or of an instant before it. */
  readonly say = (text: string, at: number | null = null) => {
    const when = at === null ? {} : { at_ns: Math.floor(at) };
    this.#connection.send({ type: "say", text, ...when });
  };
  readonly askKeyboard = () => this.#connection.send({ type: "ask_keyboard" });
  readonly releaseKeyboard = () => this.#connection.send({ type: "release_keyboard" });
  readonly takeKeyboard = () => this.#connection.send({ type: "take_keyboard" });
  readonly giveKeyboard = (to: number) => this.#connection.send({ type: "give_keyboard", to });
  readonly setKeyboard = (change: Partial<Pick<Keyboard, "mode" | "locked">>) => {
    const { mode, locked } = { ...this.keyboard, ...change };
    this.#connection.send({ type: "set_keyboard", mode, locked });
  };
  readonly mute = (person: number, muted: boolean) =>
    this.#connection.send({ type: "mute", person, muted });
  readonly remove = (person: number) => this.#connection.send({ type: "remove", person });
  readonly lockDoor = (locked: boolean) => this.#connection.send({ type: "lock_door", locked });
  /** This page shows a terminal as it was at an instant; null is live. */
  look(at: number | null): void {
    const before = this.#view;
    this.#view = { console: this.shown, at_ns: at === null ? null : Math.floor(at) };
    if (before.at_ns === this.#view.at_ns && before.console === this.#view.console) return;
    this.#teller ??= setTimeout(() => this.#sayView(), LOOK_MS);
  }

  readonly follow = (person: number | null) => {
    if (this.followed === person) return;
    this.followed = person;
    this.#connection.send({ type: "follow", person });
  };
  /** Everybody is to look where this page looks. */
  readonly bring = () => {
    this.#sayView();
    this.#connection.send({ type: "bring" });
  };

  readonly comeAgain = () => {
    this.gone = null;
    this.#connection.again();
  };

  close(): void {
    clearTimeout(this.#teller);
    this.#connection.close();
  }

  #sayView(): void {
    clearTimeout(this.#teller);
    this.#teller = undefined;
    this.#connection.send({ type: "look", ...this.#view });
  }

  #lead(by: Led["by"], { console, at_ns }: { console: number; at_ns: number | null }): void {
    this.led = { console, at: at_ns, by, count: (this.led?.count ?? 0) + 1 };
  }

  #sayWish(): void {
    // A page that cannot type has no say in the size.
    if (this.#wish && this.may("type") && this.consoles[this.shown]?.typable) {
      this.#connection.send({ type: "resize", console: this.shown, ...this.#wish });
    }
  }

  #hear(message: ServerMessage): void {
    switch (message.type) {
      case "welcome":
        return this.#greet(message);
      case "state":
        this.state = message.state;
        this.detail = message.detail;
        this.action = message.action;
        if (message.state === "preparing") {
          this.progress = null;
          this.donePhases = [];
        }
        return;
      case "progress":
        return this.#advance(message);
      case "renamed":
        this.name = message.name;
        return;
      case "size":
        if (message.console !== this.shown) return;
        this.size = { columns: message.columns, rows: message.rows };
        this.#screen?.setSizeNext(this.size);
        return;
      case "refused":
        this.refusal = message.reason;
        return;
      case "people":
        this.people = message.people;
        if (!this.people.some(({ id }) => id === this.followed)) this.followed = null;
        return;
      case "led":
        if (message.person === this.followed) this.#lead("followed", message);
        return;
      case "brought": {
        this.follow(null);
        this.#lead("brought", message);
        const when = message.at_ns === null ? "what is live" : instant(message.at_ns).clock;
        this.notice = `${message.name} brought you to ${when}.`;
        return;
      }
      case "keyboard":
        this.keyboard = message;
        if (this.whyNot === null) this.refusal = null;
        return;
      case "typist": {
        const { console, person, name } = message;
        this.typist = { console, person, name, count: (this.typist?.count ?? 0) + 1 };
        return;
      }
      case "chat": {
        const last = this.said.at(-1)?.id ?? 0;
        const news = message.said.filter(({ id }) => id > last);
        this.said = [...this.said, ...news].slice(-SAID_MAX);
        return;
      }
      case "door":
        this.isDoorLocked = message.locked;
        return;
      case "notice":
        this.notice = message.text;
        return;
      case "gone":
        this.gone = message.reason === "closing" ? null : message.reason;
    }
  }

  #greet(welcome: Welcome): void {
    this.name = welcome.name;
    this.image = welcome.image;
    this.you = welcome.you;
    this.role = welcome.role;
    this.rights = welcome.rights;
    this.consoles = welcome.consoles;
    this.isDoorLocked = welcome.door_locked;
    this.gone = null;
    // Whoever comes again looks at what is live, and follows nobody, as far as the server knows.
    if (this.#view.at_ns !== null) this.#sayView();
    this.followed = null;
    if (this.shown >= welcome.consoles.length && this.shown !== 0) this.show(0);
    else this.#sayWish();
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
