// Numbers: percentiles, the host's load, a process's memory.

import { readFile } from "node:fs/promises";
import { loadavg } from "node:os";

/** `p50 12 ms, p90 30 ms`, of milliseconds. */
export function percentiles(times, shares) {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return shares.map((share) => `p${share * 100} ${round(at(share))} ms`).join(", ");
}

export const round = (number) => (number < 10 ? number.toFixed(1) : number.toFixed(0));

/** Megabytes of a process that are in memory. */
export async function residentMb(pid) {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return (Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024) / 1e6;
}

/** Numbers from 0 to 1, the same in every run. */
export function random() {
  let seed = 7;
  return () => (seed = (seed * 16807) % 2147483647) / 2147483647;
}

export const rest = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const rows = [];
/** A row of the table: what, what was measured, what is to be reached; the load is the host's. */
export function report(what, measured, goal) {
  const row = `| ${what} | ${measured} | ${goal} | ${loadavg()[0].toFixed(1)} |`;
  rows.push(row);
  console.error(row);
}

export function printTable() {
  console.log("| | measured | to reach | load |\n|---|---|---|---|");
  for (const row of rows) console.log(row);
}
