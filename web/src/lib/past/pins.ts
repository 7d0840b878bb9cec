// What was said, at its instants on the strip. Pure.

import type { Said } from "../protocol.ts";
import type { Tape } from "./tape.ts";

/** What was said about one place of the strip; going there goes to the last of it. */
export type Pin = { at: number; place: number; count: number; words: string };

/** Pins that are nearer to each other than this share of the strip are one. */
const NEAR = 0.02;
/** Longest words of a pin, in characters. */
const WORDS_MAX = 300;

/** In order; what only happened, and what is before the strip, is left out. */
export function pinsOf(said: Said[], tape: Tape): Pin[] {
  const pins: Pin[] = [];
  const about = said.flatMap(({ name, text, instant_ns: at }) =>
    name === "" || at === null || at < tape.begin ? [] : [{ name, text, at }],
  );
  for (const { name, text, at } of about.toSorted((a, b) => a.at - b.at)) {
    const place = tape.place(at);
    const words = `${name}: ${text}`;
    const last = pins.at(-1);
    if (last && place - last.place < NEAR) {
      last.at = at;
      last.count += 1;
      last.words = `${last.words}\n${words}`.slice(0, WORDS_MAX);
    } else pins.push({ at, place, count: 1, words: words.slice(0, WORDS_MAX) });
  }
  return pins;
}
