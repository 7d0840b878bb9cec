// What a guest may have of this browser through its terminal. The guest is hostile: its output is
// data, it gets no answers from here, and it reaches the clipboard only where the machine's owner
// has allowed that, and only for writing.

import type { IParser } from "@xterm/xterm";

/** Longest text that a guest may put on the clipboard, in bytes of base64. */
const CLIPBOARD_BASE64_MAX = 128 << 10;
/** Longest title, in characters. */
const TITLE_MAX = 120;

/**
 * Programs ask the terminal questions (where is the cursor, what are you) and read the answer as
 * typing. The machine's own model of the terminal answers, once; a browser never does, or a guest
 * would have as many answers as viewers, and could make a viewer type.
 */
export function muteAnswers(parser: IParser): void {
  const mute = () => true;
  for (const id of [
    { final: "n" },
    { prefix: "?", final: "n" },
    { final: "c" },
    { prefix: ">", final: "c" },
    { prefix: "=", final: "c" },
    { prefix: ">", final: "q" },
    { intermediates: "$", final: "p" },
    { prefix: "?", intermediates: "$", final: "p" },
    { prefix: "?", final: "u" },
    { final: "t" },
    { final: "x" },
  ]) {
    parser.registerCsiHandler(id, mute);
  }
  parser.registerDcsHandler({ intermediates: "$", final: "q" }, mute);
  parser.registerDcsHandler({ intermediates: "+", final: "q" }, mute);
  for (const id of [4, 5, 10, 11, 12, 13, 14, 17, 19]) {
    parser.registerOscHandler(id, (data) => data.includes("?"));
  }
}

/** Hears OSC 52: `text` for what a guest would like on the clipboard. Reading is never answered. */
export function hearClipboard(parser: IParser, onText: (text: string) => void): void {
  parser.registerOscHandler(52, (data) => {
    const text = clipboardText(data);
    if (text !== null) onText(text);
    return true;
  });
}

/** The text of an OSC 52, or null where it asks, is broken or too long. */
export function clipboardText(data: string): string | null {
  const coded = /^[cpqs0-7]*;([A-Za-z0-9+/]+={0,2})$/.exec(data)?.[1];
  if (coded === undefined || coded.length > CLIPBOARD_BASE64_MAX) return null;
  try {
    const bytes = Uint8Array.from(atob(coded), (char) => char.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** A link of the guest's that may be offered: http or https, and nothing hidden in it. */
export function linkTarget(text: string): string | null {
  if (text.length > 4096) return null;
  try {
    const target = new URL(text);
    const isWeb = target.protocol === "http:" || target.protocol === "https:";
    return isWeb && target.username === "" && target.password === "" ? target.href : null;
  } catch {
    return null;
  }
}

/** A title of the guest's as plain text: no control characters, none that turn text around. */
export function plainTitle(title: string): string {
  const plain = title.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, " ").trim();
  return [...plain].slice(0, TITLE_MAX).join("");
}
