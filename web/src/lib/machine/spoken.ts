// What is read out when it changes: the line when it is lost, the state, who has the keyboard.

import { STATE_WORDS } from "../home/states.ts";
import type { Machine } from "./machine.svelte.ts";

export function spokenOf(machine: Machine): string {
  if (machine.line === "lost") return "Connection lost, connecting again";
  if (machine.state === null) return "";
  const words = [`${machine.name} is ${STATE_WORDS[machine.state]}`];
  const { passed, locked, holder } = machine.keyboard;
  if (locked) words.push("the keyboard is locked");
  else if (passed && holder !== null) {
    const person = machine.personOf(holder);
    words.push(
      holder === machine.you
        ? "you have the keyboard"
        : `${person?.name ?? "somebody"} has the keyboard`,
    );
  }
  return words.join(", ");
}
