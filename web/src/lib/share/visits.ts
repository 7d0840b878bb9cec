// What visitors may take who get machines of their own: the choices, and their words. Pure.

import type { VisitLimits } from "../api.ts";
import { memory, plural } from "../format.ts";

export const VISITORS = [
  { value: 5, word: "5" },
  { value: 20, word: "20" },
  { value: 50, word: "50" },
  { value: 100, word: "100" },
];
export const MINUTES = [
  { value: 10, word: "10 min" },
  { value: 30, word: "30 min" },
  { value: 120, word: "2 h" },
];
export const SHARES = [
  { value: 25, word: "a quarter" },
  { value: 50, word: "half" },
  { value: 100, word: "all" },
];

/** 0 is as much as the machine has. */
export const MEMORIES = [
  { value: 16, word: "16 MiB" },
  { value: 64, word: "64 MiB" },
  { value: 0, word: "all it has" },
];

/** What the host may have to give, at worst. */
export function worstOf(limits: VisitLimits, memoryBytes: number | null): string {
  const cores = (limits.visitors * limits.cpu_percent) / 100;
  const words = [`${cores} ${cores === 1 ? "core" : "cores"}`];
  const limit = limits.memory_mib === null ? Number.POSITIVE_INFINITY : limits.memory_mib << 20;
  const each = Math.min(memoryBytes ?? Number.POSITIVE_INFINITY, limit);
  if (Number.isFinite(each)) words.push(`${memory(limits.visitors * each)} of memory`);
  return `${words.join(" and ")} if all of them use all of theirs`;
}

/** "3 of 20 machines, half an hour each" in the list of links. */
export function visitWords(limits: VisitLimits, here: number): string {
  return `${here} of ${plural(limits.visitors, "machine")}, ${limits.minutes} min each`;
}
