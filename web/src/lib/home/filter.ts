// Finding a machine by what people know of it. Pure.

import type { MachineView } from "../api.ts";

type Known = Pick<MachineView, "id" | "name" | "notes" | "tags" | "image">;

/** Machines that have every word of the query in name, notes, tags or image. */
export function find<T extends Known>(machines: readonly T[], query: string): T[] {
  const words = fold(query).split(/\s+/).filter(Boolean);
  if (words.length === 0) return [...machines];
  return machines.filter((machine) => {
    const text = fold(
      [machine.name, machine.id, machine.image, machine.notes, ...machine.tags].join("\n"),
    );
    return words.every((word) => text.includes(word));
  });
}

/** "Café" is found by "cafe". */
function fold(text: string): string {
  return text
    .normalize("NFD")
    .replace(/\p{Mn}/gu, "")
    .toLowerCase();
}

const ORDER = ["running", "paused", "starting", "preparing", "failed", "saved", "stopped"];

/** Those that run first, then the newest. */
export function inOrder<T extends Pick<MachineView, "state" | "created_unix_ms" | "id">>(
  machines: readonly T[],
): T[] {
  const place = (machine: T) => Math.max(0, ORDER.indexOf(machine.state) - 3);
  return [...machines].sort(
    (a, b) =>
      place(a) - place(b) || b.created_unix_ms - a.created_unix_ms || (a.id < b.id ? -1 : 1),
  );
}

/** Words from what was typed into a field for them: commas and spaces part them. */
export function tagsOf(text: string): string[] {
  const words = text.split(/[\s,]+/).map((word) => word.replace(/^#/, ""));
  return [...new Set(words.filter(Boolean))];
}
