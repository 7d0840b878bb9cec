// A terminal of the machine, drawn by xterm.js. Owns its size and what of its data is typing;
// knows nothing of the line. What the guest may have of this browser is `guest.ts`'s.

import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal } from "@xterm/xterm";
import { hearClipboard, linkTarget, muteAnswers, plainTitle } from "./guest.ts";
import {
  allowStyleElements,
  FONT_PX,
  FONT_PX_MIN,
  FONT_PX_PHONE,
  SCROLLBACK_LINES,
  THEME,
} from "./look.ts";
import { isRisky, isTyped, keyText, plainPaste, withAlt, withCtrl } from "./typing.ts";

export type Dimensions = { columns: number; rows: number };
export type Point = { left: number; top: number };

export type Listener = {
  typed(bytes: Uint8Array): void;
  /** The window's size in characters changed. */
  wish(wish: Dimensions): void;
  /** Several lines are to be pasted: to be shown first. */
  paste(text: string): void;
  /** A link was clicked: its target is to be shown first. */
  link(target: string): void;
  title(title: string): void;
  /** The guest would like this on the clipboard. */
  clipboard(text: string): void;
};

export class Screen {
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  readonly #search = new SearchAddon();
  readonly #listener: Listener;
  readonly #encoder = new TextEncoder();
  #box: HTMLElement | null = null;
  #wish: Dimensions | null = null;
  #given: Dimensions | null = null;
  /** The next key is pressed together with this one. */
  held: "ctrl" | "alt" | null = null;
  /** That key has been used up. */
  onReleased: () => void = () => {};

  constructor(listener: Listener) {
    this.#listener = listener;
    this.#terminal = new Terminal({
      // For the marks of what was found.
      allowProposedApi: true,
      allowTransparency: true,
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      cursorInactiveStyle: "outline",
      disableStdin: true,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
      fontSize: FONT_PX,
      lineHeight: 1.2,
      linkHandler: { activate: (_, text) => this.#offer(text) },
      scrollback: SCROLLBACK_LINES,
      theme: THEME,
    });
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.loadAddon(this.#search);
    this.#terminal.loadAddon(new WebLinksAddon((_, text) => this.#offer(text)));
    this.#terminal.attachCustomKeyEventHandler((event) => this.#handleKey(event));
    muteAnswers(this.#terminal.parser);
    hearClipboard(this.#terminal.parser, (text) => listener.clipboard(text));
    this.#terminal.onTitleChange((title) => listener.title(plainTitle(title)));
    this.#terminal.onData((text) => {
      if (isTyped(text)) listener.typed(this.#encoder.encode(this.#withHeld(text)));
    });
    this.#terminal.onBinary((text) =>
      listener.typed(Uint8Array.from(text, (char) => char.charCodeAt(0))),
    );
  }

  /** Draws into an element, and follows its size. Returns how to end that. */
  mount(box: HTMLElement): () => void {
    allowStyleElements();
    this.#box = box;
    this.#terminal.open(box);
    const paste = (event: ClipboardEvent) => this.#handlePaste(event);
    box.addEventListener("paste", paste, true);
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

  set isTypable(isTypable: boolean) {
    this.#terminal.options.disableStdin = !isTypable;
  }

  set isReadAloud(isReadAloud: boolean) {
    this.#terminal.options.screenReaderMode = isReadAloud;
  }

  /** Draws bytes; `drawn` is called when they are on the screen. */
  write(bytes: Uint8Array, drawn: () => void): void {
    this.#terminal.write(bytes, drawn);
  }

  /** Begins anew with this size. */
  begin(size: Dimensions): void {
    // In the order of writing: what came before is drawn first, then everything goes.
    this.#terminal.write("\x1bc", () => this.setSize(size));
  }

  /** Shows this and nothing else: what draws it on an empty terminal of this size. */
  draw(size: Dimensions, text: string): void {
    const isOther = size.columns !== this.#given?.columns || size.rows !== this.#given.rows;
    if (isOther) this.setSize(size);
    this.#terminal.write(`\x1bc${text}`);
  }

  /** The machine's size, which this screen shows whatever its own window is. */
  setSize(given: Dimensions): void {
    this.#given = given;
    this.#layOut();
  }

  /** The same, after what has been written so far. */
  setSizeNext(given: Dimensions): void {
    this.#terminal.write("", () => this.setSize(given));
  }

  /** Presses a key that a phone's keyboard lacks. */
  press(key: string): void {
    this.#terminal.input(keyText(key, this.#terminal.modes.applicationCursorKeysMode));
    this.focus();
  }

  /** Pastes what somebody has looked at. */
  paste(text: string): void {
    this.#terminal.paste(text);
    this.focus();
  }

  /** Finds a text; false if it is nowhere. */
  find(text: string, direction: "next" | "previous"): boolean {
    const options = { caseSensitive: false, decorations: FOUND };
    return direction === "next"
      ? this.#search.findNext(text, options)
      : this.#search.findPrevious(text, options);
  }

  endFind(): void {
    this.#search.clearDecorations();
    this.#terminal.clearSelection();
    this.focus();
  }

  /** Where the cursor's lower edge is, in pixels of the box; null if it is not in sight. */
  cursor(): Point | null {
    const drawn = this.#box?.querySelector(".xterm-screen");
    const buffer = this.#terminal.buffer.active;
    if (!drawn || buffer.viewportY !== buffer.baseY) return null;
    return {
      left: (buffer.cursorX * drawn.clientWidth) / this.#terminal.cols,
      top: ((buffer.cursorY + 1) * drawn.clientHeight) / this.#terminal.rows,
    };
  }

  /** Calls back whenever something was drawn, until what is returned is called. */
  onDrawn(drawn: () => void): () => void {
    const listening = this.#terminal.onRender(drawn);
    return () => listening.dispose();
  }

  /** Which row somebody points at, and where its lower edge is in pixels of the box; null if at none,
      or if what is in sight is not the screen, or something was selected. */
  rowAt(event: MouseEvent): { row: number; top: number } | null {
    const drawn = this.#box?.querySelector(".xterm-screen");
    const buffer = this.#terminal.buffer.active;
    if (!this.#box || !drawn || buffer.viewportY !== buffer.baseY) return null;
    if (this.#terminal.hasSelection()) return null;
    const { top, height } = drawn.getBoundingClientRect();
    const each = height / this.#terminal.rows;
    const row = Math.floor((event.clientY - top) / each);
    if (row < 0 || row >= this.#terminal.rows) return null;
    return { row, top: top - this.#box.getBoundingClientRect().top + (row + 1) * each };
  }

  #withHeld(text: string): string {
    const { held } = this;
    if (held === null) return text;
    this.held = null;
    this.onReleased();
    return held === "ctrl" ? withCtrl(text) : withAlt(text);
  }

  #offer(text: string): void {
    const target = linkTarget(text);
    if (target !== null) this.#listener.link(target);
  }

  #handlePaste(event: ClipboardEvent): void {
    event.preventDefault();
    event.stopPropagation();
    const text = plainPaste(event.clipboardData?.getData("text/plain") ?? "");
    if (text === "" || this.#terminal.options.disableStdin) return;
    if (isRisky(text)) this.#listener.paste(text);
    else this.#terminal.paste(text);
  }

  /** False for keys that are the page's and not the machine's. */
  #handleKey(event: KeyboardEvent): boolean {
    if (event.key === "F6") return false;
    if (!event.ctrlKey || !event.shiftKey || event.altKey || event.metaKey) return true;
    switch (event.code) {
      case "KeyC":
        if (event.type === "keydown") {
          event.preventDefault();
          // xterm.js puts its selection on the clipboard when the browser copies.
          document.execCommand("copy");
        }
        return false;
      case "KeyF":
      case "KeyK":
        return false;
      default:
        // The browser pastes by itself, which needs no permission; xterm.js must not see the key.
        return event.code !== "KeyV";
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
      this.#listener.wish(wish);
    }
  }
}

const FOUND = {
  matchBackground: "#57513f",
  activeMatchBackground: "#8a6410",
  matchOverviewRuler: "#9c9686",
  activeMatchColorOverviewRuler: "#e3b75a",
};
