// What was typed and is not yet part of the machine's past. Numbers every keystroke, keeps it until
// the server says what became of it, and says what to send again on a new line: so each one is
// applied exactly once. Pure: sends nothing.

import { inputFrame, KEYS_BYTES_MAX } from "../protocol.ts";

export type Keystroke = { number: number; frame: Uint8Array<ArrayBuffer> };

/** Bytes in one keystroke; a longer paste is several. */
const PIECE_BYTES = Math.min(16 << 10, KEYS_BYTES_MAX);
/** Bytes on their way at a time: a paste waits here, and not in the server. */
const WINDOW_BYTES = 128 << 10;
/** Bytes that are kept at all, and of those what goes along to the page's next load. */
export const KEPT_BYTES_MAX = 4 << 20;
const ASIDE_BYTES_MAX = 256 << 10;

export class KeyQueue {
  /** The page: keystrokes are numbered within it. */
  readonly page: string;
  #next: number;
  #kept: Keystroke[] = [];
  #keptBytes = 0;
  /** How many of `#kept`, from the front, are on their way. */
  #sent = 0;
  #sentBytes = 0;

  constructor(page: string, next: number) {
    this.page = page;
    this.#next = next;
  }

  /** What `aside` gave on the page's last load; null if it is not that. */
  static from(aside: string): KeyQueue | null {
    const [, page, next, rest = ""] = /^([0-9a-f]{32}) (\d{1,15})((?: \S+)*)$/.exec(aside) ?? [];
    if (page === undefined) return null;
    const keys = new KeyQueue(page, Number(next));
    for (const coded of rest.split(" ").filter(Boolean)) {
      const frame = Uint8Array.from(atob(coded), (char) => char.charCodeAt(0));
      keys.#keep({ number: numberIn(frame), frame });
    }
    return keys;
  }

  /** This page and its keystrokes as text. */
  aside(): string {
    const isLittle = this.#keptBytes <= ASIDE_BYTES_MAX;
    const kept = isLittle ? this.#kept.map(({ frame }) => btoa(String.fromCharCode(...frame))) : [];
    return [this.page, this.#next, ...kept].join(" ");
  }

  /** The number of the next keystroke. */
  get next(): number {
    return this.#next;
  }

  /** How many keystrokes nobody has spoken for yet. */
  get length(): number {
    return this.#kept.length;
  }

  /** Takes what was typed; false when there is too much of it already, and then takes none. */
  push(console: number, bytes: Uint8Array): boolean {
    if (this.#keptBytes + bytes.length > KEPT_BYTES_MAX) return false;
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      const piece = bytes.subarray(at, at + PIECE_BYTES);
      const frame = inputFrame(console, this.#next, piece);
      this.#keep({ number: this.#next, frame });
      this.#next += 1;
    }
    return true;
  }

  /** What may be sent now; from then on it counts as sent. */
  take(): Keystroke[] {
    const taken: Keystroke[] = [];
    for (;;) {
      const first = this.#kept[this.#sent];
      if (!first || this.#sentBytes + first.frame.length > WINDOW_BYTES) return taken;
      taken.push(first);
      this.#sent += 1;
      this.#sentBytes += first.frame.length;
    }
  }

  /** Everything up to this number is part of the machine's past, or was refused. */
  applied(number: number): void {
    while (this.#kept[0] && this.#kept[0].number <= number) this.#drop(0);
    // A page that was loaded anew may not know of its last ones.
    this.#next = Math.max(this.#next, number + 1);
  }

  /** One of them was not applied, and will not be. */
  refused(number: number): void {
    const at = this.#kept.findIndex((key) => key.number === number);
    if (at >= 0) this.#drop(at);
  }

  /** A new line: what the machine has had goes, everything else is to be sent again. */
  resume(applied: number): void {
    this.#sent = 0;
    this.#sentBytes = 0;
    this.applied(applied);
  }

  /** The machine is another one: nothing of this was meant for it. */
  clear(): void {
    this.#kept = [];
    this.#keptBytes = 0;
    this.#sent = 0;
    this.#sentBytes = 0;
  }

  #keep(key: Keystroke): void {
    this.#kept.push(key);
    this.#keptBytes += key.frame.length;
  }

  #drop(at: number): void {
    const [dropped] = this.#kept.splice(at, 1);
    if (!dropped) return;
    this.#keptBytes -= dropped.frame.length;
    if (at < this.#sent) {
      this.#sent -= 1;
      this.#sentBytes -= dropped.frame.length;
    }
  }
}

function numberIn(frame: Uint8Array<ArrayBuffer>): number {
  return Number(new DataView(frame.buffer).getBigUint64(1));
}
