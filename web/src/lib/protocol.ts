// What the page and the server say to each other over /api/machine: the mirror of
// crates/server/src/protocol.rs. Tests on both sides read tests/protocol.json.

/** A page of another version than the server's loads itself again. */
export const VERSION = 1;
/** Longest message to the server, in bytes. */
export const CLIENT_MESSAGE_BYTES_MAX = 64 << 10;
const OUTPUT_HEADER_BYTES = 9;

/** The pictures a page has of a machine, in the order of their numbers. */
export const SCREENS = ["terminal", "log"] as const;
export type Screen = (typeof SCREENS)[number];

export const STATES = [
  "preparing",
  "starting",
  "booting",
  "running",
  "paused",
  "stopped",
  "failed",
] as const;
export type MachineState = (typeof STATES)[number];

export type Hello = {
  type: "hello";
  version: number;
  /** Names what positions count from; after a server's restart it is another. */
  run: string;
  machine: string;
  image: string;
  /** Where each screen's past ends: questions in bytes before it are not to be answered. */
  live: [number, number];
};
export type Progress = {
  type: "progress";
  phase: string;
  message: string;
  done_bytes: number;
  total_bytes: number | null;
};
export type State = { type: "state"; state: MachineState; detail: string };
/** `yours`: this page's window gave the size, and its terminal answers the machine's questions. */
export type Size = { type: "size"; columns: number; rows: number; yours: boolean };
/** What follows on a screen does not join what came before. */
export type Gap = { type: "gap"; screen: Screen };
/** Something that happened, for people. */
export type Notice = { type: "notice"; text: string };
export type Fault = { type: "error"; what: string; action: string };
export type ServerMessage = Hello | Progress | State | Size | Gap | Notice | Fault;

export type PowerAction = "start" | "shutdown" | "kill";
export type ClientMessage =
  | { type: "resize"; columns: number; rows: number }
  | { type: "drawn"; screen: Screen; position: number }
  | { type: "power"; action: PowerAction };

/** Bytes that a screen wrote, and the position of the first since the run began. */
export type Output = { screen: Screen; position: number; bytes: Uint8Array };

type Fields = Record<string, unknown>;
const isNumber = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
const isText = (value: unknown): value is string => typeof value === "string";
const isOne = (list: readonly string[], value: unknown) => isText(value) && list.includes(value);

/** The shape of each message from the server. */
const SHAPES: Record<ServerMessage["type"], (fields: Fields) => boolean> = {
  hello: (m) =>
    isNumber(m.version) &&
    isText(m.run) &&
    isText(m.machine) &&
    isText(m.image) &&
    Array.isArray(m.live) &&
    m.live.length === SCREENS.length &&
    m.live.every(isNumber),
  progress: (m) =>
    isText(m.phase) &&
    isText(m.message) &&
    isNumber(m.done_bytes) &&
    (m.total_bytes === null || isNumber(m.total_bytes)),
  state: (m) => isOne(STATES, m.state) && isText(m.detail),
  size: (m) => isNumber(m.columns) && isNumber(m.rows) && typeof m.yours === "boolean",
  gap: (m) => isOne(SCREENS, m.screen),
  notice: (m) => isText(m.text),
  error: (m) => isText(m.what) && isText(m.action),
};

/** A text frame from the server, or null for what this page does not understand. */
export function parseServerMessage(text: string): ServerMessage | null {
  let fields: Fields;
  try {
    fields = JSON.parse(text) as Fields;
  } catch {
    return null;
  }
  if (typeof fields !== "object" || fields === null || !isText(fields.type)) return null;
  const shape = Object.hasOwn(SHAPES, fields.type) && SHAPES[fields.type as ServerMessage["type"]];
  return shape && shape(fields) ? (fields as ServerMessage) : null;
}

/** A binary frame from the server, or null. */
export function parseOutput(frame: ArrayBuffer): Output | null {
  if (frame.byteLength < OUTPUT_HEADER_BYTES) return null;
  const view = new DataView(frame);
  const screen = SCREENS[view.getUint8(0)];
  const position = Number(view.getBigUint64(1));
  return screen ? { screen, position, bytes: new Uint8Array(frame, OUTPUT_HEADER_BYTES) } : null;
}

/** The binary frame for what was typed. */
export function inputFrame(screen: Screen, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(1 + bytes.length);
  frame[0] = SCREENS.indexOf(screen);
  frame.set(bytes, 1);
  return frame;
}
