// Where an instant is on the strip, and the other way round. Time in which nothing happened is
// folded: it takes a little room whatever its length. Pure.

import type { TimelineView } from "../api.ts";

/** A stretch of time, and the part of the strip that it takes (0 to 1). */
export type Stretch = { begin: number; end: number; from: number; to: number; isFold: boolean };
/** A bar of the strip: its place and width (0 to 1), and how high it is (0 to 1). */
export type Bar = { from: number; width: number; height: number };

/** Less than this is no idle time, in nanoseconds. */
const FOLD_NS_MIN = 15e9;
/** Shown around what happened. */
const MARGIN_NS = 1e9;
/** What a fold takes, and all of them at most. */
const FOLD_WIDTH = 0.03;
const FOLDS_WIDTH_MAX = 0.36;

export class Tape {
  readonly begin: number;
  readonly end: number;
  readonly stretches: Stretch[];

  constructor(view: TimelineView) {
    this.begin = view.begin_ns;
    this.end = view.end_ns;
    this.stretches = laidOut(busyParts(view), view.begin_ns, view.end_ns);
  }

  /** Where an instant is, from 0 to 1. */
  place(at: number): number {
    const inside = Math.min(this.end, Math.max(this.begin, at));
    const stretch = this.stretches.find(({ end }) => inside <= end);
    if (!stretch) return 1;
    const { begin, end, from, to } = stretch;
    return end > begin ? from + ((inside - begin) / (end - begin)) * (to - from) : from;
  }

  /** Which instant is there, to a millisecond: as exactly as an address says it. */
  at(place: number): number {
    const inside = Math.min(1, Math.max(0, place));
    const stretch = this.stretches.find(({ to }) => inside <= to) ?? this.stretches.at(-1);
    if (!stretch) return this.begin;
    const { begin, end, from, to } = stretch;
    const ns = to > from ? begin + ((inside - from) / (to - from)) * (end - begin) : end;
    return Math.round(ns / 1e6) * 1e6;
  }

  get folds(): Stretch[] {
    return this.stretches.filter(({ isFold }) => isFold);
  }

  /** Bars for what was counted in each bin, the largest as high as it gets. */
  bars(view: TimelineView, count: (bin: TimelineView["bins"][number]) => number): Bar[] {
    const counts = view.bins.map(count);
    // A flood must not flatten everything else.
    const most = Math.log1p(Math.max(1, ...counts));
    return view.bins.flatMap((bin, index) => {
      const value = counts[index] ?? 0;
      if (value === 0) return [];
      const from = this.place(bin.at_ns);
      const width = this.place(bin.at_ns + view.step_ns) - from;
      return [{ from, width, height: Math.log1p(value) / most }];
    });
  }
}

type Part = { begin: number; end: number };

function busyParts(view: TimelineView): Part[] {
  const parts: Part[] = [];
  for (const { at_ns } of view.bins) {
    const begin = Math.max(view.begin_ns, at_ns - MARGIN_NS);
    const end = Math.min(view.end_ns, at_ns + view.step_ns + MARGIN_NS);
    const last = parts.at(-1);
    if (last && begin - last.end < FOLD_NS_MIN) last.end = Math.max(last.end, end);
    else if (end >= begin) parts.push({ begin, end });
  }
  return parts;
}

/** Busy parts and what is between them, side by side. */
function laidOut(parts: Part[], begin: number, end: number): Stretch[] {
  const all: (Part & { isFold: boolean })[] = [];
  let reached = begin;
  const idle = (until: number) => {
    if (until > reached) {
      all.push({ begin: reached, end: until, isFold: until - reached >= FOLD_NS_MIN });
    }
  };
  for (const part of parts) {
    idle(part.begin);
    all.push({ ...part, isFold: false });
    reached = part.end;
  }
  idle(end);
  const folds = all.filter(({ isFold }) => isFold).length;
  const open = all.filter(({ isFold }) => !isFold);
  const open_ns = open.reduce((sum, part) => sum + (part.end - part.begin), 0);
  const each = open_ns === 0 ? 1 : FOLD_WIDTH * folds;
  const fold = Math.min(each, open_ns === 0 ? 1 : FOLDS_WIDTH_MAX) / Math.max(1, folds);
  const rest = 1 - fold * folds;
  let from = 0;
  return all.map((part, index) => {
    const share = open_ns > 0 ? (part.end - part.begin) / open_ns : 0;
    const isLast = index === all.length - 1;
    const to = isLast ? 1 : Math.min(1, from + (part.isFold ? fold : share * rest));
    const stretch = { ...part, from, to };
    from = to;
    return stretch;
  });
}
