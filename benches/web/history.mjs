// What a machine's history costs it, as BENCHMARKS.md has it:
// `node benches/web/history.mjs [idle|busy|growth] [PAIRS TIMES]`. The same work in a machine that is
// kept and in one that is not; by default 8 times in each of 4 pairs of them. STACKVM names a binary
// that is built already.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { Home } from "../../web/tests/stackvm.js";
import { printTable, report, rest } from "./measure.mjs";

const [wanted, PAIRS = 4, ROUNDS = 8] = process.argv.slice(2);
/** Keyframes are made when a machine has just become idle; they belong to what was before. */
const SETTLED_MS = 1000;
const GROWTH_S = 40;
const IDLE_AFTER_MS = 20_000;
const IDLE_MS = 60_000;
/** A guest's /tmp is in its memory: what is written there is what keyframes find changed. */
const WORK = {
  computing: `i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done
    head -c 30000000 /dev/zero | sha256sum`,
  "writing files": `dd if=/dev/zero of=/tmp/x bs=64k count=400
    head -c 4000000 /dev/urandom > /tmp/r
    cat /tmp/x /tmp/r | gzip -c > /tmp/y; sha256sum /tmp/y; rm /tmp/[xry]`,
};
/** Of one seed, so that their guests do the same. */
const KINDS = { "not kept": [], kept: ["--name", "kept"] };
const ALL_KINDS = { ...KINDS, "kept without history": ["--name", "bare", "--no-history"] };
const TICKS_PER_S = Number(execFileSync("getconf", ["CLK_TCK"]).toString());

const home = await Home.make();
try {
  if (["idle", undefined].includes(wanted)) await measureIdle();
  if (["busy", undefined].includes(wanted)) await measureBusy();
  if (["growth", undefined].includes(wanted)) await measureGrowth();
} finally {
  await home.remove();
}
printTable();

async function start(kind) {
  const id = home.run("run", "tiny", "--detach", "-q", "--seed", "1", ...ALL_KINDS[kind]);
  const { pid } = JSON.parse(home.run("ls", "--json")).find(({ name }) => name === id);
  return { kind, id, pid, journal: await journalOf(pid) };
}

/** Those that are kept have a name that the next one takes. */
function end(machine) {
  home.run("stop", "--kill", machine.id);
  if (machine.kind !== "not kept") home.run("rm", machine.id);
}

async function measureIdle() {
  const machines = await Promise.all(Object.keys(ALL_KINDS).map(start));
  await rest(IDLE_AFTER_MS);
  const before = await Promise.all(machines.map(look));
  await rest(IDLE_MS);
  for (const [at, machine] of machines.entries()) {
    const after = await look(machine);
    const share = (after.cpu - before[at].cpu) / (IDLE_MS / 1000);
    const grown = after.bytes - before[at].bytes;
    const growth = machine.journal ? `${(grown / (IDLE_MS / 1000)).toFixed(1)} B/s, ` : "";
    const goal = machine.kind === "kept" ? "0 B/s" : "";
    report(
      `idle at the prompt for a minute, ${machine.kind}`,
      `${growth}${percent(share)} of a core`,
      goal,
    );
    end(machine);
  }
}

/**
 * In turn in two machines that are there all the time, on one processor: at times one of the host's is
 * half as fast for seconds, and the other is not. What is written behind the work counts as well.
 */
async function measureBusy() {
  const ratios = Object.fromEntries(Object.keys(WORK).map((what) => [what, []]));
  const took = { "not kept": 0, kept: 0 };
  for (let pair = 0; pair < PAIRS; pair += 1) {
    const machines = await Promise.all(Object.keys(KINDS).map(start));
    const processor = String(cpus().length - 1);
    for (const { pid } of machines) {
      execFileSync("taskset", ["-a", "-p", "-c", processor, String(pid)]);
    }
    await rest(SETTLED_MS);
    for (const [what, script] of Object.entries(WORK)) {
      const before = await Promise.all(machines.map(look));
      for (let round = 0; round < ROUNDS; round += 1) {
        for (const machine of round % 2 === 0 ? machines : machines.toReversed()) {
          run(machine, script);
        }
      }
      await rest(SETTLED_MS);
      const after = await Promise.all(machines.map(look));
      const [without, kept] = after.map(({ cpu }, at) => cpu - before[at].cpu);
      took["not kept"] += without;
      took.kept += kept;
      ratios[what].push(kept / without);
    }
    machines.forEach(end);
  }
  for (const what of Object.keys(WORK)) {
    const each = `${PAIRS} pairs of machines, ${ROUNDS} times in each`;
    report(`CPU time of ${what}, kept beside not kept, ${each}`, spread(ratios[what]), "1.02×");
  }
  const seconds = Object.entries(took).map(([kind, cpu]) => `${kind} ${cpu.toFixed(0)} s`);
  report("CPU time of all that", seconds.join(", "), "");
}

/** The same work over and over in one machine: a new one makes its first keyframes at once. */
async function measureGrowth() {
  const machine = await start("kept");
  await rest(SETTLED_MS);
  for (const [what, script] of Object.entries(WORK)) {
    const end = `end=$(($(cut -d. -f1 /proc/uptime) + ${GROWTH_S}))`;
    const again = `while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do ${script}; done`;
    const { bytes, wall } = await work(machine, `${end}; ${again}`);
    report(
      `growth of a kept machine's history, ${what}`,
      `${megabytes(bytes)} in ${wall.toFixed(0)} s: ${megabytes((bytes / wall) * 3600)} an hour`,
      "stated",
    );
  }
  end(machine);
}

function run(machine, script) {
  home.run("exec", machine.id, "--", "sh", "-c", `{ ${script}; } > /dev/null 2>&1`);
}

async function work(machine, script) {
  const before = await look(machine);
  const begun = performance.now();
  run(machine, script);
  const wall = (performance.now() - begun) / 1000;
  await rest(SETTLED_MS);
  const after = await look(machine);
  return { wall, bytes: after.bytes - before.bytes };
}

/** CPU seconds of a lab, all threads that there ever were, and bytes on the disk of its journal. */
async function look({ pid, journal }) {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // The command's name may have anything in it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const cpu = (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
  const bytes = journal ? Number.parseInt(execFileSync("du", ["-sB1", journal]), 10) : 0;
  return { cpu, bytes };
}

/** The folder a lab writes its journal in, if it does. */
async function journalOf(pid) {
  const folder = (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0")[2];
  const journal = join(folder, "journal");
  return existsSync(journal) ? journal : null;
}

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The middle one, the least and the greatest. */
function spread(ratios) {
  const sorted = ratios.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.floor((sorted.length - 1) * share)].toFixed(3);
  return `${median(ratios).toFixed(3)}× (${at(0)} to ${at(1)})`;
}

function percent(share) {
  return `${(share * 100).toFixed(2)} %`;
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
