// Why somebody is not let in, or is not here any more, and what they can do. Pure.

import type { Gone } from "../protocol.ts";

export type Reason = { title: string; text: string; canRetry: boolean };

const ASK = "Ask whoever sent it for a new one.";

export const GONE_REASONS: Record<Exclude<Gone, "closing">, Reason> = {
  revoked: {
    title: "This link was ended",
    text: `Its owner has ended it. The machine may run on, but this link opens it no more. ${ASK}`,
    canRetry: false,
  },
  expired: { title: "This link has ended", text: `Its time was over. ${ASK}`, canRetry: false },
  removed: {
    title: "You were put out",
    text: "The owner of this machine has ended your visit. Another link of theirs lets you in again.",
    canRetry: false,
  },
  locked: {
    title: "The door is locked",
    text: "The owner lets nobody new in at the moment. It may open again soon.",
    canRetry: true,
  },
  full: {
    title: "The room is full",
    text: "As many people as fit are at this machine. Try again when somebody has left.",
    canRetry: true,
  },
  deleted: {
    title: "This machine is not there any more",
    text: "Its owner has deleted it, or it could not be made. Its owner's home page says which, and can undo a deletion.",
    canRetry: false,
  },
  out_of_memory: {
    title: "Your machine took too much memory",
    text: "Its link gives each visitor only so much. Open the link again for another one.",
    canRetry: false,
  },
  not_admitted: {
    title: "This browser may not see this machine",
    text: "Open the link that was sent to you again; the address alone is not enough. If it is your own machine, run `stackvm open` on its computer.",
    canRetry: true,
  },
};

const KINDS: Record<string, Reason> = {
  incomplete: {
    title: "A part of this link is missing",
    text: `What comes after # belongs to it, and an address that was opened before has lost it. Open the whole link again. ${ASK}`,
    canRetry: false,
  },
  away: {
    title: "Nobody answers",
    text: "The server behind this link has ended, or cannot be reached from here.",
    canRetry: true,
  },
  no_such_recording: {
    title: "There is no such recording",
    text: "Its address was mistyped, or its owner published it no more.",
    canRetry: false,
  },
  no_such_link: {
    title: "There is no such link",
    text: `It was mistyped, or it was ended long ago. ${ASK}`,
    canRetry: false,
  },
};

/** The reason behind a refusal's kind, as far as this page has words of its own for it. */
export function reasonOf(kind: string): Reason | null {
  if (Object.hasOwn(GONE_REASONS, kind)) return GONE_REASONS[kind as keyof typeof GONE_REASONS];
  return Object.hasOwn(KINDS, kind) ? (KINDS[kind] as Reason) : null;
}
