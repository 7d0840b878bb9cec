// One screen of the machine, drawn by xterm.js. Owns its look, its size and which of its answers
// reach the machine; knows nothing of the line.

import { FitAddon } from "@xterm/addon-fit";
import { type ITheme, Terminal } from "@xterm/xterm";

const FONT_PX = 14;
const FONT_PX_PHONE = 12;
/** Below this nobody can read; a larger machine is then cut off at the edges. */
const FONT_PX_MIN = 5;

const THEME: ITheme = {
  background: "#00000000",
  foreground: "#e7e3d8",
  cursor: "#e7e3d8",
  cursorAccent: "#14130f",
  selectionBackground: "#57513f",
  black: "#34312a",
  red: "#ef8069",
  green: "#8fc98a",
  yellow: "#e3b75a",
  blue: "#8fb2ea",
  magenta: "#d39bc9",
  cyan: "#7fc4c0",
  white: "#d8d3c6",
  brightBlack: "#9c9686",
  brightRed: "#f6a08d",
  brightGreen: "#b0dfab",
  brightYellow: "#f0cf85",
  brightBlue: "#b3ccf5",
  brightMagenta: "#e4bbdd",
  brightCyan: "#a5dcd8",
  brightWhite: "#fffdf6",
};

export type Dimensions = { columns: number; rows: number };

export type TerminalOptions = {
  /** What was typed, or what the terminal answers the machine. Null: nobody can type here. */
  onInput: ((bytes: Uint8Array) => void) | null;
  /** The window's size in characters changed. */
  onWish: (wish: Dimensions) => void;
};

export class Screen {
  #terminal: Terminal;
  #fit = new FitAddon();
  #box: HTMLElement | null = null;
  #wish: Dimensions | null = null;
  #given: Dimensions | null = null;
  #onWish: TerminalOptions["onWish"];
  #encoder = new TextEncoder();
  /** Pieces of the past that are not drawn yet. */
  #pastPieces = 0;
  /** Whether this page's terminal is the one that answers the machine. */
  isAnswering = false;
  /** The next key is pressed together with Ctrl. */
  isCtrlHeld = false;
  /** That key has been pressed. */
  onCtrlReleased: () => void = () => {};

  constructor(options: TerminalOptions) {
    const { onInput } = options;
    this.#onWish = options.onWish;
    this.#terminal = new Terminal({
      allowTransparency: true,
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      cursorInactiveStyle: "outline",
      disableStdin: onInput === null,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
      fontSize: FONT_PX,
      lineHeight: 1.2,
      scrollback: 5000,
      theme: THEME,
    });
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.attachCustomKeyEventHandler((event) => this.#handleKey(event));
    this.#muteAnswers();
    if (onInput) {
      this.#terminal.onData((text) => onInput(this.#encoder.encode(this.#withCtrl(text))));
      this.#terminal.onBinary((text) => onInput(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    }
  }

  /** Draws into an element, and follows its size. Returns how to end that. */
  mount(box: HTMLElement): () => void {
    allowStyleElements();
    this.#box = box;
    this.#terminal.open(box);
    const observer = new ResizeObserver(() => this.#layOut());
    observer.observe(box);
    this.#layOut();
    return () => {
      observer.disconnect();
      this.#terminal.dispose();
    };
  }

  focus(): void {
    this.#terminal.focus();
  }

  /** Draws bytes; `drawn` is called when they are on the screen. */
  write(bytes: Uint8Array, isPast: boolean, drawn: () => void): void {
    this.#pastPieces += Number(isPast);
    this.#terminal.write(bytes, () => {
      this.#pastPieces -= Number(isPast);
      drawn();
    });
  }

  clear(): void {
    // In the order of writing: what came before is drawn first, then everything goes.
    this.#terminal.write("\x1bc");
  }

  /** The machine's size, which this screen shows whatever its own window is. */
  setSize(given: Dimensions): void {
    this.#given = given;
    this.#layOut();
  }

  /** Presses a key that a phone's keyboard lacks. */
  press(key: string): void {
    const arrow = "ABCD"[ARROWS.indexOf(key)];
    const isApplication = this.#terminal.modes.applicationCursorKeysMode;
    this.#terminal.input(arrow ? `\x1b${isApplication ? "O" : "["}${arrow}` : key);
    this.focus();
  }

  #withCtrl(text: string): string {
    if (!this.isCtrlHeld || text.length !== 1) return text;
    this.isCtrlHeld = false;
    this.onCtrlReleased();
    const code = text.toUpperCase().charCodeAt(0);
    return code >= 0x3f && code <= 0x5f ? String.fromCharCode(code ^ 0x40) : text;
  }

  #handleKey(event: KeyboardEvent): boolean {
    if (!event.ctrlKey || !event.shiftKey || event.altKey || event.metaKey) return true;
    if (event.code === "KeyC") {
      if (event.type === "keydown") {
        event.preventDefault();
        void navigator.clipboard.writeText(this.#terminal.getSelection());
      }
      return false;
    }
    // The browser pastes by itself, which needs no permission; xterm.js must only not see the key.
    return event.code !== "KeyV";
  }

  /**
   * Programs ask the terminal questions (where is the cursor, what are you) and read the answer as
   * typing. Of several pages one answers, and none answers what was asked in the past.
   */
  #muteAnswers(): void {
    const parser = this.#terminal.parser;
    const isMuted = () => !this.isAnswering || this.#pastPieces > 0;
    for (const id of [
      { final: "n" },
      { prefix: "?", final: "n" },
      { final: "c" },
      { prefix: ">", final: "c" },
      { prefix: "=", final: "c" },
      { prefix: ">", final: "q" },
      { intermediates: "$", final: "p" },
      { prefix: "?", intermediates: "$", final: "p" },
      { final: "t" },
    ]) {
      parser.registerCsiHandler(id, isMuted);
    }
    parser.registerDcsHandler({ intermediates: "$", final: "q" }, isMuted);
    for (const id of [4, 10, 11, 12]) {
      parser.registerOscHandler(id, (data) => data.includes("?") && isMuted());
    }
  }

  /** Works out which size the window would like, and draws the machine's size into it. */
  #layOut(): void {
    if (!this.#box || this.#box.clientWidth === 0) return;
    const base = matchMedia("(max-width: 640px)").matches ? FONT_PX_PHONE : FONT_PX;
    this.#terminal.options.fontSize = base;
    const proposed = this.#fit.proposeDimensions();
    if (!proposed || !Number.isFinite(proposed.cols) || !Number.isFinite(proposed.rows)) return;
    const wish = { columns: proposed.cols, rows: proposed.rows };
    const given = this.#given ?? wish;
    const scale = Math.min(1, wish.columns / given.columns, wish.rows / given.rows);
    if (scale < 1) {
      this.#terminal.options.fontSize = Math.max(FONT_PX_MIN, Math.floor(base * scale * 4) / 4);
    }
    if (this.#terminal.cols !== given.columns || this.#terminal.rows !== given.rows) {
      this.#terminal.resize(given.columns, given.rows);
    }
    if (this.#wish?.columns !== wish.columns || this.#wish.rows !== wish.rows) {
      this.#wish = wish;
      this.#onWish(wish);
    }
  }
}

const ARROWS = ["ArrowUp", "ArrowDown", "ArrowRight", "ArrowLeft"];

let areStylesAllowed = false;

/** xterm.js keeps its colours in style elements, which the page's policy lets in by nonce only. */
function allowStyleElements(): void {
  if (areStylesAllowed) return;
  areStylesAllowed = true;
  const nonce = document.querySelector<HTMLMetaElement>("meta[name=csp-nonce]")?.nonce ?? "";
  const create = document.createElement.bind(document);
  document.createElement = (name: string, options?: ElementCreationOptions) => {
    const element = create(name, options);
    if (element instanceof HTMLStyleElement) element.nonce = nonce;
    return element;
  };
}
