// What a link's role may do: the mirror of the table in crates/server/src/rights.rs, in words. The
// server decides; this says beforehand what it will decide.

import type { Right, Role } from "../protocol.ts";

export type SharedRole = Exclude<Role, "owner">;
/** What a link leads to. A moment is typed at by going on from it. */
export type Shared = "machine" | "moment";
/** What a link shows: the machine as it runs, one instant of it, or a machine of one's own that
    begins there. */
export type Kind = "live" | "moment" | "try";

const TABLE: Record<SharedRole, readonly Right[]> = {
  viewer: ["see", "see_past"],
  commenter: ["see", "see_past", "comment"],
  driver: ["see", "see_past", "comment", "type", "files"],
};

export const RIGHT_WORDS: Record<Right, string> = {
  see: "see its consoles, and who is there",
  see_past: "see what was on them since you shared it",
  comment: "write in the chat",
  type: "type at its keyboard",
  power: "start, pause, reset and switch it off",
  files: "put files in and take files out",
  fork: "make a twin of it",
  download: "take its recording",
  share: "share, rename and delete it",
};

/** What a link to a moment lets people do, and not. */
export const MOMENT_WORDS: Record<"viewer" | "driver", { may: string[]; mayNot: string[] }> = {
  viewer: {
    may: ["see its screen as it was"],
    mayNot: ["see anything before or after it", "go on from it"],
  },
  driver: {
    may: [
      "see its screen as it was",
      "go on from it, in machines of their own on this server",
      "read all that was in its memory and on its disks",
    ],
    mayNot: ["change it", "see what was typed before it"],
  },
};

/** What a link lets people do who get machines of their own, and not. */
export const TRY_WORDS = {
  may: [
    "type at a machine of their own, which begins at this instant",
    "start over",
    "read all that is in its memory and on its disks",
  ],
  mayNot: ["see each other’s machines", "reach a network", "keep their machine"],
};

const ALL = Object.keys(RIGHT_WORDS) as Right[];

/** What a role may and may not do, in the order of the table. */
export function rightsOf(role: SharedRole): { may: Right[]; mayNot: Right[] } {
  const may = ALL.filter((right) => TABLE[role].includes(right));
  return { may, mayNot: ALL.filter((right) => !may.includes(right)) };
}
