// How the glass looks: its colours and sizes. The same in light and dark, because it is the
// machine's.

import type { ITheme } from "@xterm/xterm";

export const FONT_PX = 14;
export const FONT_PX_PHONE = 12;
/** Below this nobody can read; a larger machine is then cut off at the edges. */
export const FONT_PX_MIN = 5;
export const SCROLLBACK_LINES = 5000;

export const THEME: ITheme = {
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

let areStylesAllowed = false;

/** xterm.js keeps its colours in style elements, which the page's policy lets in by nonce only. */
export function allowStyleElements(): void {
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
