// What of the terminal's data is typing, and what a key becomes. Pure.

/** What xterm.js says by itself when its window gets or loses the focus: nobody typed that. */
const FOCUS_REPORT = /^\u001b\[[IO]$/;
const ARROWS = ["ArrowUp", "ArrowDown", "ArrowRight", "ArrowLeft"];

export function isTyped(text: string): boolean {
  return text !== "" && !FOCUS_REPORT.test(text);
}

/** A single character, pressed together with Ctrl. */
export function withCtrl(text: string): string {
  if (text.length !== 1) return text;
  const code = text.toUpperCase().charCodeAt(0);
  if (text === " ") return "\0";
  return code >= 0x3f && code <= 0x5f ? String.fromCharCode(code ^ 0x40) : text;
}

/** A single character, pressed together with Alt. */
export function withAlt(text: string): string {
  return text.length === 1 ? `\u001b${text}` : text;
}

/** What a key of the phone's row types; arrows depend on what the program asked for. */
export function keyText(key: string, isApplication: boolean): string {
  const arrow = "ABCD"[ARROWS.indexOf(key)];
  return arrow ? `\u001b${isApplication ? "O" : "["}${arrow}` : key;
}

/** A paste without control characters: another web page may have put them on the clipboard. */
export function plainPaste(text: string): string {
  return text.replace(/\r\n?/g, "\n").replace(/[^\P{Cc}\t\n]/gu, "");
}

/** Whether a paste would run something before anybody has seen it. */
export function isRisky(paste: string): boolean {
  return paste.includes("\n");
}
