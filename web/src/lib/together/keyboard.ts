// Who may type now, as the page can tell before it sends anything; the server decides. Pure.

import type { Keyboard, Refusal, Right, Role } from "../protocol.ts";

/** Why this person's keys would be refused; null if they would not. */
export function mayType(
  keyboard: Keyboard,
  you: number | null,
  rights: readonly Right[],
  role: Role,
): Refusal | null {
  if (!rights.includes("type")) return "no_right";
  if (keyboard.locked && role !== "owner") return "locked";
  if (keyboard.passed && keyboard.holder !== null && keyboard.holder !== you) return "not_yours";
  return null;
}

/** What the keyboard's bar says. */
export type Holding =
  | { kind: "watching" }
  | { kind: "open" }
  | { kind: "locked" }
  | { kind: "free" }
  | { kind: "yours"; waiting: number }
  | { kind: "theirs"; holder: number; place: number; waiting: number };

export function holding(
  keyboard: Keyboard,
  you: number | null,
  rights: readonly Right[],
  role: Role,
): Holding {
  const { holder, waiting } = keyboard;
  if (keyboard.locked && role !== "owner") return { kind: "locked" };
  if (keyboard.passed && holder !== null && holder !== you) {
    const place = you === null ? 0 : waiting.indexOf(you) + 1;
    return { kind: "theirs", holder, place, waiting: waiting.length };
  }
  if (!rights.includes("type")) return { kind: "watching" };
  if (!keyboard.passed) return { kind: "open" };
  if (holder === null) return { kind: "free" };
  return { kind: "yours", waiting: waiting.length };
}
