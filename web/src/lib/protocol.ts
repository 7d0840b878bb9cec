// What the page and the server say to each other over /api/machines/ID/live: the mirror of
// crates/server/src/protocol.rs and its folder. Tests on both sides read tests/protocol.json.

/** A page of another version than the server's loads itself again. */
export const VERSION = 3;
/** Longest message to the server, in bytes. */
export const CLIENT_MESSAGE_BYTES_MAX = 64 << 10;
/** Longest name of a person, and longest thing said in the chat, in bytes. */
export const NAME_BYTES_MAX = 64;
export const SAID_BYTES_MAX = 2 << 10;
export const SIZE_RANGE = { least: 2, most: 1000 } as const;
const OUTPUT_HEADER_BYTES = 10;
const PICTURE_HEADER_BYTES = 14;
const INPUT_HEADER_BYTES = 9;
/** Most bytes typed in one frame. */
export const KEYS_BYTES_MAX = CLIENT_MESSAGE_BYTES_MAX - INPUT_HEADER_BYTES;

export const STATES = [
  "preparing",
  "starting",
  "running",
  "paused",
  "stopped",
  "saved",
  "failed",
] as const;
export type MachineState = (typeof STATES)[number];

export const ROLES = ["viewer", "commenter", "driver", "owner"] as const;
export type Role = (typeof ROLES)[number];
export const RIGHTS = [
  "see",
  "see_past",
  "comment",
  "type",
  "power",
  "files",
  "fork",
  "download",
  "share",
] as const;
export type Right = (typeof RIGHTS)[number];

export const MODES = ["auto", "open", "passed"] as const;
export type KeyboardMode = (typeof MODES)[number];
export type Keyboard = {
  mode: KeyboardMode;
  /** Whether it goes from hand to hand now; else everybody with the right types. */
  passed: boolean;
  holder: number | null;
  /** Who has asked for it, the first first. */
  waiting: number[];
  /** Nobody but the owner types. */
  locked: boolean;
  /** Seconds until an idle holder loses it to whoever waits; null while there are more than 30. */
  left_s: number | null;
};
export type Person = {
  id: number;
  name: string;
  /** One of eight colours, from 0. */
  hue: number;
  role: Role;
  lag_ms: number | null;
  away: boolean;
  muted: boolean;
  /** Their page shows what was, not what is. */
  looks_back: boolean;
};
export type Said = {
  id: number;
  /** Empty for what just happened. */
  name: string;
  hue: number;
  text: string;
  at_unix_ms: number;
  instant_ns: number | null;
};
export type ConsoleInfo = { name: string; typable: boolean };

export const REFUSALS = ["no_right", "not_yours", "locked", "off"] as const;
export type Refusal = (typeof REFUSALS)[number];
export const GONE = [
  "revoked",
  "expired",
  "removed",
  "locked",
  "full",
  "deleted",
  "out_of_memory",
  "not_admitted",
  "closing",
] as const;
export type Gone = (typeof GONE)[number];

export type Welcome = {
  type: "welcome";
  version: number;
  /** Names what positions count from; after a server's restart it is another. */
  run: string;
  machine: string;
  name: string;
  image: string;
  you: number;
  role: Role;
  rights: Right[];
  consoles: ConsoleInfo[];
  /** The last keystroke of this page that the machine has had. */
  applied: number;
  door_locked: boolean;
};
export type Progress = {
  type: "progress";
  phase: string;
  message: string;
  done_bytes: number;
  total_bytes: number | null;
};
export type Size = { type: "size"; console: number; columns: number; rows: number };
export type ServerMessage =
  | Welcome
  | Progress
  | Size
  | { type: "state"; state: MachineState; detail: string; action: string }
  | { type: "renamed"; name: string }
  | { type: "applied"; number: number }
  | { type: "refused"; number: number; reason: Refusal }
  | { type: "people"; people: Person[] }
  | ({ type: "keyboard" } & Keyboard)
  | { type: "typist"; console: number; person: number | null; name: string }
  /** Where the person looks whom this page follows; null is live. */
  | { type: "led"; person: number; console: number; at_ns: number | null }
  /** Somebody brings everybody to where they look. */
  | { type: "brought"; name: string; console: number; at_ns: number | null }
  | { type: "chat"; said: Said[] }
  | { type: "door"; locked: boolean }
  | { type: "pong"; nonce: number }
  | { type: "notice"; text: string }
  | { type: "gone"; reason: Gone };

export type ClientMessage =
  | {
      type: "join";
      version: number;
      page: string;
      bearer?: string;
      run?: string;
      seen?: Record<number, number>;
      chat: number;
    }
  | { type: "watch"; console: number }
  | { type: "unwatch"; console: number }
  | { type: "resize"; console: number; columns: number; rows: number }
  | { type: "drawn"; console: number; position: number }
  | { type: "rename"; name: string }
  | { type: "say"; text: string; at_ns?: number }
  | { type: "away"; away: boolean }
  | { type: "look"; console: number; at_ns: number | null }
  | { type: "follow"; person: number | null }
  | { type: "bring" }
  | { type: "ping"; nonce: number; lag_ms: number | null }
  | { type: "ask_keyboard" }
  | { type: "release_keyboard" }
  | { type: "give_keyboard"; to: number }
  | { type: "take_keyboard" }
  | { type: "set_keyboard"; mode: KeyboardMode; locked: boolean }
  | { type: "mute"; person: number; muted: boolean }
  | { type: "remove"; person: number }
  | { type: "lock_door"; locked: boolean };

/** Bytes that a terminal wrote, and the position of the first since the run began. */
export type Output = { kind: "output"; console: number; position: number; bytes: Uint8Array };
/** A terminal begins anew, at this size; `position` is where its output goes on. */
export type Picture = {
  kind: "picture";
  console: number;
  position: number;
  columns: number;
  rows: number;
  bytes: Uint8Array;
};

type Fields = Record<string, unknown>;
type Shape = (value: unknown) => boolean;
const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
const isText = (value: unknown): value is string => typeof value === "string";
const isFlag: Shape = (value) => typeof value === "boolean";
const isOneOf =
  (list: readonly string[]): Shape =>
  (value) =>
    isText(value) && list.includes(value);
const orNull =
  (shape: Shape): Shape =>
  (value) =>
    value === null || shape(value);
const listOf =
  (shape: Shape): Shape =>
  (value) =>
    Array.isArray(value) && value.every(shape);
const fields =
  (shapes: Record<string, Shape>): Shape =>
  (value) =>
    typeof value === "object" &&
    value !== null &&
    Object.entries(shapes).every(([name, shape]) => shape((value as Fields)[name]));

const person = fields({
  id: isCount,
  name: isText,
  hue: isCount,
  role: isOneOf(ROLES),
  lag_ms: orNull(isCount),
  away: isFlag,
  muted: isFlag,
  looks_back: isFlag,
});
const said = fields({
  id: isCount,
  name: isText,
  hue: isCount,
  text: isText,
  at_unix_ms: isCount,
  instant_ns: orNull(isCount),
});

/** The shape of each message from the server. */
const SHAPES: Record<ServerMessage["type"], Shape> = {
  welcome: fields({
    version: isCount,
    run: isText,
    machine: isText,
    name: isText,
    image: isText,
    you: isCount,
    role: isOneOf(ROLES),
    rights: listOf(isOneOf(RIGHTS)),
    consoles: listOf(fields({ name: isText, typable: isFlag })),
    applied: isCount,
    door_locked: isFlag,
  }),
  state: fields({ state: isOneOf(STATES), detail: isText, action: isText }),
  progress: fields({
    phase: isText,
    message: isText,
    done_bytes: isCount,
    total_bytes: orNull(isCount),
  }),
  renamed: fields({ name: isText }),
  size: fields({ console: isCount, columns: isCount, rows: isCount }),
  applied: fields({ number: isCount }),
  refused: fields({ number: isCount, reason: isOneOf(REFUSALS) }),
  people: fields({ people: listOf(person) }),
  keyboard: fields({
    mode: isOneOf(MODES),
    passed: isFlag,
    holder: orNull(isCount),
    waiting: listOf(isCount),
    locked: isFlag,
    left_s: orNull(isCount),
  }),
  typist: fields({ console: isCount, person: orNull(isCount), name: isText }),
  led: fields({ person: isCount, console: isCount, at_ns: orNull(isCount) }),
  brought: fields({ name: isText, console: isCount, at_ns: orNull(isCount) }),
  chat: fields({ said: listOf(said) }),
  door: fields({ locked: isFlag }),
  pong: fields({ nonce: isCount }),
  notice: fields({ text: isText }),
  gone: fields({ reason: isOneOf(GONE) }),
};

/** A text frame from the server, or null for what this page does not understand. */
export function parseServerMessage(text: string): ServerMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { type } = value as Fields;
  const shape = isText(type) && Object.hasOwn(SHAPES, type) && SHAPES[type as "welcome"];
  return shape && shape(value) ? (value as ServerMessage) : null;
}

/** A binary frame from the server, or null. */
export function parseFrame(frame: ArrayBuffer): Output | Picture | null {
  if (frame.byteLength < OUTPUT_HEADER_BYTES) return null;
  const view = new DataView(frame);
  const console = view.getUint8(1);
  const position = Number(view.getBigUint64(2));
  switch (view.getUint8(0)) {
    case 0: {
      const bytes = new Uint8Array(frame, OUTPUT_HEADER_BYTES);
      return { kind: "output", console, position, bytes };
    }
    case 1: {
      if (frame.byteLength < PICTURE_HEADER_BYTES) return null;
      const bytes = new Uint8Array(frame, PICTURE_HEADER_BYTES);
      const [columns, rows] = [view.getUint16(10), view.getUint16(12)];
      return { kind: "picture", console, position, columns, rows, bytes };
    }
    default:
      return null;
  }
}

/** The binary frame for what was typed: the terminal, the number, the bytes. */
export function inputFrame(
  console: number,
  number: number,
  bytes: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(INPUT_HEADER_BYTES + bytes.length);
  frame[0] = console;
  new DataView(frame.buffer).setBigUint64(1, BigInt(number));
  frame.set(bytes, INPUT_HEADER_BYTES);
  return frame;
}
