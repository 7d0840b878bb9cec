// The server's HTTP interface: the mirror of crates/server/src/api/types.rs, and one function that
// calls it. Every refusal is an `ApiError` with what happened, to what, and what to do.

import { randomHex } from "./memory.ts";
import type { MachineState, Right, Role } from "./protocol.ts";

export type Page<T> = { items: T[]; next: string | null };
export type PersonView = { name: string; hue: number; role: Role; types: boolean };
export type MachineView = {
  id: string;
  name: string;
  image: string;
  memory_bytes: number | null;
  harts: number;
  state: MachineState;
  detail: string;
  action: string;
  kept: boolean;
  keep: HistoryKept;
  /** It never runs: a moment, which stays as it was at an instant of another machine, or a
   * recording. */
  frozen: boolean;
  /** Of another machine, from one instant until another. */
  recording: boolean;
  created_unix_ms: number;
  notes: string;
  tags: string[];
  clipboard: boolean;
  version: number;
  role: Role;
  rights: Right[];
  people: PersonView[];
  /** A visitor's own, who asks. */
  visit: VisitView | null;
  branch_of: BranchOf | null;
  screen: string[];
};
export type NewMachine = {
  image: string;
  name?: string;
  memory_mib?: number;
  keep?: HistoryKept;
};
/** How much of its history a machine keeps. */
export type HistoryKept = { seconds: number; bytes: number };
export type ChangeMachine = {
  name?: string;
  notes?: string;
  tags?: string[];
  clipboard?: boolean;
};
export type PowerAction = "start" | "pause" | "resume" | "reset" | "shutdown" | "kill" | "save";
export type InfoView = {
  memory_bytes: number;
  harts: number;
  instructions: number;
  instant_ns: number;
  uptime_ms: number;
  disk_written_bytes: number;
  digest: string | null;
  digest_instant_ns: number | null;
};
export type MarkerView = { index: number; name: string; author: string; at_ns: number };
export type TimelineView = {
  begin_ns: number;
  end_ns: number;
  step_ns: number;
  bins: BinView[];
  entered_ns: number[];
  typists: string[];
};
export type BinView = {
  at_ns: number;
  output_bytes: number;
  typed_bytes: number;
  typist: number | null;
};
export type PictureView = { at_ns: number; columns: number; rows: number; draw: string };
export type FoundView = { at_ns: number; console: number | null; line: string };
export type EventView = {
  at_ns: number;
  kind: "entered" | "marked";
  who: string;
  console: number | null;
  text: string;
};
export type LineView = { line: string; at_ns: number | null; entered: EventView | null };
/** What a replay computed. */
export type ExactView = {
  at_ns: number;
  instructions: number;
  digest: string;
  columns: number;
  rows: number;
  draw: string;
};
export type TextView = { lines: string[]; lines_before: number };
/** What goes on from a machine, or keeps a part of its past. */
export type BranchView = {
  id: string;
  name: string;
  kind: "machine" | "moment" | "recording";
  at_ns: number;
  last: string | null;
};
export type ReportView = { moment: string; url: string; markdown: string };
export type BranchOf = { id: string; at_ns: number };
export type Past = "from_now" | "all";
export type ShareView = {
  id: string;
  machine: string;
  role: Role;
  label: string;
  past: Past;
  has_password: boolean;
  created_unix_ms: number;
  expires_unix_ms: number | null;
  revoked_unix_ms: number | null;
  opened: number;
  here: number;
  visits: VisitLimits | null;
};
/** What visitors of a link may take, who get machines of their own. */
export type VisitLimits = {
  visitors: number;
  minutes: number;
  cpu_percent: number;
  memory_mib: number | null;
};
/** A visitor's own machine, or how many are before them while they wait for one. */
export type VisitView = {
  link: string;
  machine: string | null;
  ahead: number;
  ends_unix_ms: number | null;
};
export type NewShare = {
  role: Role;
  label: string;
  expires_in_s?: number;
  password?: string;
  past: Past;
  visits?: VisitLimits;
};
export type CreatedShare = { share: ShareView; url: string; embed_url: string; path: string };
/** What is published needs no secret. */
export type OpenSession =
  { token: string } | { share: string; secret?: string; password?: string; bearer?: boolean };
export type Visibility = "unlisted" | "public";
export type NewPublication = {
  title: string;
  description: string;
  tags: string[];
  visibility: Visibility;
  role: Role;
};
export type PublicationView = NewPublication & {
  id: string;
  created_unix_ms: number;
  opened: number;
  url: string;
  poster_url: string;
  embed_url: string;
  markdown: string;
};
export type Published = { publication: PublicationView | null };
/** How often a text is where. */
export type FoundIn = { typed: number; shown: number; memory: number; disk: number };
export type OutgoingView = {
  typed_bytes: number;
  typists: string[];
  memory_bytes: number;
  disk_bytes: number;
  found: FoundIn | null;
};
export type SharedMachine = { id: string; name: string; role: Role };
export type SessionView = {
  owner: boolean;
  name: string;
  hue: number;
  machine: string | null;
  visit: VisitView | null;
  shared: SharedMachine[];
  bearer?: string;
  warning: string;
  unsandboxed: boolean;
};
export type OwnerLink = { url: string; expires_unix_ms: number };
export type TaskState = "running" | "done" | "failed" | "cancelled";
export type TaskView = {
  id: string;
  title: string;
  machine: string | null;
  state: TaskState;
  phase: string;
  message: string;
  done_bytes: number;
  total_bytes: number | null;
  log: string[];
  started_unix_ms: number;
  ended_unix_ms: number | null;
  what: string;
  action: string;
  cancellable: boolean;
};
export type Begun = { task: TaskView; machine: MachineView | null };
export type ImageView = { name: string; about: string; ready: boolean; memory_bytes: number };
export type ReachWho = "this_computer" | "network" | "anyone";
export type ReachAddress = { url: string; who: ReachWho };
export type ReachView = {
  who: ReachWho;
  addresses: ReachAddress[];
  ssh: string;
  can_open: boolean;
};
export type NetworkSecurity = "self_signed" | "insecure_http";
export type Problem = {
  type: string;
  title: string;
  status: number;
  detail: string;
  action: string;
  field?: string;
};
export type HomeMessage =
  | { type: "machines"; machines: MachineView[]; all: boolean }
  | { type: "machine_gone"; id: string }
  | { type: "task"; task: TaskView };

/** A refusal; `status` 0 and kind `away`: nobody answers. */
export class ApiError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
  }
}

const AWAY: Problem = {
  type: "away",
  title: "nobody answers",
  status: 0,
  detail: "The server does not answer.",
  action: "Try again when it is back; `stackvm up` starts it.",
};

type Options = {
  /** The version that the change was made to; another one is refused. */
  version?: number;
  /** Instead of the cookie: in a frame on another site. */
  bearer?: string | null;
  /** No cookie goes along, and none is taken. */
  isBare?: boolean;
  /** Gives the request up. */
  signal?: AbortSignal;
};
type Method = "GET" | "POST" | "PATCH" | "DELETE";

export async function call<T>(
  method: Method,
  path: string,
  body?: unknown,
  options: Options = {},
): Promise<T> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  // Sent again, it is answered again and not done again.
  if (method === "POST") headers["idempotency-key"] = randomHex(16);
  if (options.version !== undefined) headers["if-match"] = `"${options.version}"`;
  if (options.bearer) headers.authorization = `Bearer ${options.bearer}`;
  const request: RequestInit = {
    method,
    headers,
    credentials: options.isBare || options.bearer ? "omit" : "same-origin",
    ...(options.signal ? { signal: options.signal } : {}),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  };
  return ask<T>(path, request);
}

/** Sends a file. */
export function send<T>(path: string, file: Blob): Promise<T> {
  const headers = { "content-type": "application/octet-stream" };
  return ask<T>(path, { method: "POST", headers, credentials: "same-origin", body: file });
}

async function ask<T>(path: string, request: RequestInit): Promise<T> {
  const answer = await fetch(path, request).catch(() => null);
  if (!answer) throw new ApiError(AWAY);
  if (!answer.ok) throw new ApiError(await problemOf(answer));
  const text = await answer.text();
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

async function problemOf(answer: Response): Promise<Problem> {
  const plain: Problem = {
    type: "refused",
    title: answer.statusText,
    status: answer.status,
    detail: `The server answered ${answer.status}.`,
    action: "Load the page again.",
  };
  const problem: unknown = await answer.json().catch(() => null);
  return typeof problem === "object" && problem !== null ? { ...plain, ...problem } : plain;
}

/** All parts of a list, up to a limit that no page can show. */
export async function callAll<T>(path: string): Promise<T[]> {
  const items: T[] = [];
  let next: string | null = "";
  while (next !== null && items.length < 2000) {
    const sign: string = path.includes("?") ? "&" : "?";
    const rest: string = next === "" ? "" : `${sign}cursor=${encodeURIComponent(next)}`;
    const page: Page<T> = await call<Page<T>>("GET", path + rest);
    items.push(...page.items);
    next = page.next;
  }
  return items;
}

/** What went wrong, for people. */
export function faultOf(error: unknown): { what: string; action: string } {
  if (error instanceof ApiError) {
    const { detail, title, action } = error.problem;
    return { what: detail || title, action };
  }
  return { what: error instanceof Error ? error.message : String(error), action: "" };
}
