// When a link ends. Pure.

import { duration } from "../format.ts";

export const ENDS = [
  { value: "hour", word: "in an hour" },
  { value: "day", word: "in a day" },
  { value: "week", word: "in a week" },
  { value: "never", word: "when I say" },
] as const;
export type End = (typeof ENDS)[number]["value"];

const SECONDS: Record<End, number | null> = {
  hour: 3600,
  day: 86_400,
  week: 604_800,
  never: null,
};

/** Seconds from now, or null for a link that ends when it is revoked. */
export function secondsUntil(end: End): number | null {
  return SECONDS[end];
}

/** "ends in 23 h 59 min"; nothing for one that stays. */
export function endWords(expiresUnixMs: number | null, nowUnixMs: number): string {
  if (expiresUnixMs === null) return "";
  if (expiresUnixMs <= nowUnixMs) return "has ended";
  return `ends in ${duration(expiresUnixMs - nowUnixMs)}`;
}
