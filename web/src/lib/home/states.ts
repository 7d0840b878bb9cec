// The words and the lamp of each state: no state is a colour alone. Pure.

import type { PersonView } from "../api.ts";
import type { MachineState } from "../protocol.ts";

export const STATE_WORDS: Record<MachineState, string> = {
  preparing: "preparing",
  starting: "starting",
  running: "running",
  paused: "paused",
  stopped: "off",
  saved: "saved",
  failed: "failed",
};

export type Lamp = "live" | "held" | "fault" | "";

export function lampOf(state: MachineState | null): Lamp {
  if (state === "running") return "live";
  if (state === "paused") return "held";
  return state === "failed" ? "fault" : "";
}

/** "3 here, Ana types"; "running, nobody here"; "off". */
export function stateLine(state: MachineState, people: readonly PersonView[]): string {
  const word = STATE_WORDS[state];
  if (state !== "running" && state !== "paused") return word;
  if (people.length === 0) return `${word}, nobody here`;
  const typist = people.find(({ types }) => types);
  const here = people.length === 1 ? `${people[0]?.name} is here` : `${people.length} here`;
  const types = typist && people.length > 1 ? `, ${typist.name} types` : "";
  return state === "paused" ? `${word}, ${here}` : `${here}${types}`;
}
