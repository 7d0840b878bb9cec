// A viewer's own place in a machine's time: live, or at an instant of the past. Nobody else's page
// moves with it.

import {
  type Begun,
  type BranchView,
  call,
  type EventView,
  type ExactView,
  type FoundView,
  type LineView,
  type MachineView,
  type MarkerView,
  type Page,
  type PictureView,
  type TextView,
  type TimelineView,
} from "../api.ts";
import type { Screen } from "../terminal/screen.ts";
import { Tape } from "./tape.ts";

export const SPEEDS = [1, 4, 16] as const;
/** Between two looks at what happened, of a machine that does something and of one that does not. */
const SOON_MS = 500;
const LOOK_MS = 10_000;
const FRAME_MS = 50;
/** Who stays at an instant for so long wants it exactly. */
const REST_MS = 500;

export class Past {
  readonly #path: string;
  readonly #bearer: string | null;
  timeline = $state.raw<TimelineView | null>(null);
  marks = $state.raw<MarkerView[]>([]);
  rails = $state.raw<BranchView[]>([]);
  /** The instant shown; null is live. */
  at = $state<number | null>(null);
  fault = $state<unknown>(null);
  isPlaying = $state(false);
  speed = $state<number>(SPEEDS[0]);
  /** The instant whose picture is on the screen. */
  drawn = $state<number | null>(null);
  /** The machine as it was at the instant shown, once that is computed. */
  exact = $state.raw<ExactView | null>(null);
  /** Counts how often somebody went somewhere at this page themselves. */
  strayed = $state(0);
  isBreakingIn = $state(false);
  isKeeping = $state(false);
  /** The machine never runs: nothing is live. */
  isOver = $state(false);
  /** What a recording that is being cut begins and ends with. */
  cut = $state<{ from: number; until: number } | null>(null);
  readonly tape = $derived(this.timeline ? new Tape(this.timeline) : null);

  #screen: Screen | null = null;
  #console = 0;
  #isAsking = false;
  #wanted: { at: number; console: number } | null = null;
  /** An exact state is computed of where the page rests, and given up when it goes on. */
  #rest: ReturnType<typeof setTimeout> | undefined;
  #replay: AbortController | null = null;
  #player: ReturnType<typeof setInterval> | undefined;
  #looker: ReturnType<typeof setTimeout> | undefined;
  #look: (() => void) | null = null;
  #isSoon = false;
  #railsAt = Number.NEGATIVE_INFINITY;

  constructor(id: string, bearer: string | null) {
    this.#path = `/api/machines/${id}`;
    this.#bearer = bearer;
  }

  /** Looks at the machine's time now and then, until told otherwise. */
  follow(): () => void {
    let isOver = false;
    const look = async () => {
      this.#isSoon = false;
      const isDue = performance.now() - this.#railsAt >= LOOK_MS;
      if (!document.hidden) await Promise.all([this.look(), isDue ? this.#lookForRails() : null]);
      if (!isOver) this.#lookIn(this.timeline ? LOOK_MS : SOON_MS);
    };
    this.#look = () => void look();
    this.#look();
    return () => {
      isOver = true;
      this.#look = null;
      clearTimeout(this.#looker);
      this.#leaveExact();
      this.pause();
    };
  }

  /** Something happened that the strip does not show yet. */
  lookSoon(): void {
    if (this.#isSoon) return;
    this.#isSoon = true;
    this.#lookIn(SOON_MS);
  }

  #lookIn(ms: number): void {
    clearTimeout(this.#looker);
    this.#looker = setTimeout(() => this.#look?.(), this.#isSoon ? Math.min(ms, SOON_MS) : ms);
  }

  async look(): Promise<void> {
    const [timeline, marks] = await Promise.all([
      this.#get<TimelineView>("/timeline"),
      this.#get<Page<MarkerView>>("/markers?limit=500"),
    ]);
    // A machine that has just begun has no time yet; the next look finds it.
    if (timeline && timeline.end_ns > 0) this.timeline = timeline;
    if (marks) this.marks = marks.items;
  }

  /** Draws on this screen from now on. */
  attach(screen: Screen): void {
    this.#screen = screen;
    if (this.at !== null) this.#want(this.at);
  }

  show(console: number): void {
    this.#console = console;
    if (this.at !== null) this.#want(this.at);
  }

  /** Goes to an instant; beyond the end is live, or the end of what never runs. */
  go(at: number): void {
    this.strayed += 1;
    this.#go(at);
  }

  /** Goes to where somebody else looks; null is live. */
  async lead(at: number | null): Promise<void> {
    this.pause();
    if (at === null) return this.#goLive();
    // They may be further than this page knew that there is anything.
    if (at >= (this.timeline?.end_ns ?? 0)) await this.look();
    this.#go(at);
  }

  #go(at: number): void {
    const { timeline } = this;
    const isBeyond = timeline !== null && at >= timeline.end_ns;
    if (isBeyond && !this.isOver) return this.#goLive();
    if (isBeyond) this.pause();
    this.at = Math.max(timeline?.begin_ns ?? 0, isBeyond ? timeline.end_ns : at);
    this.#want(this.at);
  }

  /** To just before the Enter before, or the next one; beyond the last is live. */
  step(by: 1 | -1): void {
    const { timeline } = this;
    if (!timeline) return;
    this.pause();
    const at = this.at ?? timeline.end_ns + 1;
    const before = timeline.entered_ns.map((enter) => enter - 1);
    const next = by < 0 ? before.findLast((enter) => enter < at) : before.find((enter) => enter > at);
    if (next !== undefined) this.go(next);
    else this.go(by < 0 ? timeline.begin_ns : timeline.end_ns);
  }

  readonly live = () => {
    this.strayed += 1;
    this.#goLive();
  };

  #goLive(): void {
    if (this.isOver) return;
    this.pause();
    this.at = null;
    this.drawn = null;
    this.#wanted = null;
    this.#leaveExact();
    this.fault = null;
  }

  /** Plays from here, idle time as fast as it is short on the strip. */
  readonly play = () => {
    const { tape } = this;
    if (!tape) return;
    if (this.at === null || this.at >= tape.end) this.go(tape.begin);
    this.isPlaying = true;
    let last = performance.now();
    this.#player = setInterval(() => {
      const now = performance.now();
      const passed = (now - last) * 1e6 * this.speed;
      last = now;
      const at = (this.at ?? tape.begin) + passed;
      const fold = tape.folds.find(({ begin, end }) => at > begin && at < end);
      this.go(fold ? fold.end : at);
    }, FRAME_MS);
  };

  readonly pause = () => {
    clearInterval(this.#player);
    this.isPlaying = false;
  };

  /** A new machine that goes on from the instant shown. */
  async breakIn(): Promise<MachineView | null> {
    const { at } = this;
    if (at === null || this.isBreakingIn) return null;
    this.pause();
    this.isBreakingIn = true;
    this.fault = null;
    try {
      const begun = await call<Begun>("POST", `${this.#path}/branch`, { at_ns: Math.floor(at) });
      return begun.machine;
    } catch (error) {
      this.fault = error;
      return null;
    } finally {
      this.isBreakingIn = false;
    }
  }

  /** Nothing is live: shows the first instant that there is, if none is shown. */
  showStart(): void {
    this.isOver = true;
    if (this.timeline && this.at === null) this.go(this.timeline.begin_ns);
  }

  /** Keeps the instant shown, or the present, as a machine that never runs. */
  async keepMoment(): Promise<MachineView | null> {
    if (this.isKeeping) return null;
    this.pause();
    this.isKeeping = true;
    this.fault = null;
    try {
      const when = this.at === null ? {} : { at_ns: Math.floor(this.at) };
      return await call<MachineView>("POST", `${this.#path}/moments`, when);
    } catch (error) {
      this.fault = error;
      return null;
    } finally {
      this.isKeeping = false;
    }
  }

  /** Begins to cut a recording: all that there is, until told otherwise. */
  beginCut(): void {
    const { timeline } = this;
    if (timeline) this.cut = { from: timeline.begin_ns, until: timeline.end_ns };
  }

  /** Keeps what is cut as a recording: a machine that never runs. */
  async keepCut(name: string): Promise<MachineView | null> {
    const { cut } = this;
    if (!cut || this.isKeeping) return null;
    this.pause();
    this.isKeeping = true;
    this.fault = null;
    try {
      const [from_ns, until_ns] = [Math.floor(cut.from), Math.floor(cut.until)];
      const wish = { from_ns, until_ns, name: name === "" ? null : name };
      const kept = await call<MachineView>("POST", `${this.#path}/recordings`, wish);
      this.cut = null;
      return kept;
    } catch (error) {
      this.fault = error;
      return null;
    } finally {
      this.isKeeping = false;
    }
  }

  /** Lines that its terminals showed and that have a text in them, the last one first. */
  search(text: string): Promise<FoundView[]> {
    const path = `${this.#path}/search?q=${encodeURIComponent(text)}`;
    return call<FoundView[]>("GET", path, undefined, { bearer: this.#bearer });
  }

  /** The line in a row of what is on the screen: when it was printed, and after what. */
  line(row: number): Promise<LineView> {
    // Beyond its end, the nearest instant counts: the present one.
    const at = Math.floor(this.at ?? Number.MAX_SAFE_INTEGER);
    const query = `at_ns=${at}&row=${row}&console=${this.#console}`;
    const options = { bearer: this.#bearer };
    return call<LineView>("GET", `${this.#path}/line?${query}`, undefined, options);
  }

  /** The last line that somebody entered here. */
  async lastEntered(): Promise<string | null> {
    const events = await this.#get<EventView[]>("/events?limit=1");
    return events?.findLast(({ kind }) => kind === "entered")?.text ?? null;
  }

  /** What another machine, or this one, printed on the terminal shown from an instant on. */
  text(id: string, from: number): Promise<TextView> {
    const query = `from_ns=${Math.floor(from)}&console=${this.#console}`;
    const options = { bearer: this.#bearer };
    return call<TextView>("GET", `/api/machines/${id}/text?${query}`, undefined, options);
  }

  #leaveExact(): void {
    clearTimeout(this.#rest);
    this.#replay?.abort();
    this.#replay = null;
    this.exact = null;
  }

  /** The track tells what was shown to about a millisecond; a replay tells it exactly. */
  async #computeExact(at: number): Promise<void> {
    const replay = new AbortController();
    this.#replay = replay;
    const path = `${this.#path}/state?at_ns=${at}&console=${this.#console}`;
    const options = { bearer: this.#bearer, signal: replay.signal };
    // Without it there is what the track tells.
    const exact = await call<ExactView | null>("GET", path, undefined, options).catch(() => null);
    if (!exact || this.#replay !== replay) return;
    this.exact = exact;
    const { columns, rows, draw } = exact;
    this.#screen?.draw({ columns, rows }, draw);
  }

  /** One picture is asked for at a time, and then the newest wish. */
  #want(at: number): void {
    this.#leaveExact();
    const rest = Math.floor(at);
    this.#rest = setTimeout(() => void this.#computeExact(rest), REST_MS);
    this.#wanted = { at: Math.floor(at), console: this.#console };
    if (!this.#isAsking) void this.#ask();
  }

  async #ask(): Promise<void> {
    this.#isAsking = true;
    while (this.#wanted) {
      const { at, console } = this.#wanted;
      this.#wanted = null;
      try {
        const query = `at_ns=${at}&console=${console}`;
        const options = { bearer: this.#bearer };
        const path = `${this.#path}/picture?${query}`;
        const picture = await call<PictureView>("GET", path, undefined, options);
        if (this.at !== null) {
          const { columns, rows } = picture;
          this.#screen?.draw({ columns, rows }, picture.draw);
          this.drawn = picture.at_ns;
          this.fault = null;
        }
      } catch (error) {
        this.fault = error;
      }
    }
    this.#isAsking = false;
  }

  /** What is entered at branches is in their journals: they are not looked at with every key here. */
  async #lookForRails(): Promise<void> {
    const rails = await this.#get<BranchView[]>("/branches");
    this.#railsAt = performance.now();
    if (rails) this.rails = rails.filter(({ kind }) => kind === "machine");
  }

  #get<T>(path: string): Promise<T | null> {
    const options = { bearer: this.#bearer };
    return call<T>("GET", this.#path + path, undefined, options).catch(() => null);
  }
}
