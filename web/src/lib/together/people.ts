// How people look: a cap with two letters and one of eight hues. Pure.

export const HUES = 8;
/** Caps in a header; more are counted. */
export const CAPS_MAX = 4;

/** "Amber Fox" is "AF", "ana" is "An"; whatever is not a letter or a digit is passed over. */
export function initials(name: string): string {
  const words = name.match(/[\p{L}\p{N}]+/gu) ?? [];
  const [first = "?", second] = words.map((word) => [...word]);
  if (second?.[0]) return (String(first[0]) + second[0]).toUpperCase();
  return String(first[0]).toUpperCase() + (first[1] ?? "").toLowerCase();
}

/** The CSS colour of a hue; what is not one of the eight is folded into them. */
export function colour(hue: number): string {
  return `var(--p${(Math.abs(Math.trunc(hue)) % HUES) + 1})`;
}

export const ROLE_WORDS = {
  viewer: "watches",
  commenter: "may comment",
  driver: "may type",
  owner: "owner",
} as const;

/** What a line's delay is called: numbers to people who know, a word to all. */
export function lagWords(milliseconds: number | null): string {
  return milliseconds === null ? "" : `${milliseconds} ms`;
}
