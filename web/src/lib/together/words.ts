// What people read when a key was not typed.

import type { Person, Refusal } from "../protocol.ts";

type Room = {
  keyboard: { holder: number | null };
  consoles: { typable: boolean }[];
  shown: number;
  personOf(id: number | null): Person | undefined;
};

export function refusalWords(refusal: Refusal, room: Room): string {
  switch (refusal) {
    case "no_right":
      return room.consoles[room.shown]?.typable === false
        ? "This console only shows; type at another one."
        : "You are watching: your link does not let you type.";
    case "not_yours": {
      const holder = room.personOf(room.keyboard.holder);
      return `${holder?.name ?? "Somebody else"} has the keyboard; that key was not typed.`;
    }
    case "locked":
      return "The owner has locked the keyboard; that key was not typed.";
    case "off":
      return "The machine is off; that key was not typed.";
  }
}
