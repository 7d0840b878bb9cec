// Light or dark: the system's choice until somebody makes their own, which this browser remembers.

import { recall, remember } from "./memory.ts";

const KEY = "theme";

export function applyTheme(): void {
  const chosen = recall(KEY);
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}

export function switchTheme(): void {
  const root = document.documentElement;
  const isDark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  remember(KEY, root.dataset.theme);
}
