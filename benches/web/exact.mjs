// From asking for a machine's exact state at an instant to the answer, which a replay computes.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hasPrompt, Home, pictureWhere, reached, typeLine } from "../../web/tests/stackvm.js";
import { percentiles, random, report, rest } from "./measure.mjs";

const ASKED = 200;
/** Asked again, to see whether the same is computed. */
const AGAIN = 5;
/** Where nothing is replayed: what a process and its answer take. */
const FLOOR = 10;
const SHARES = [0.5, 0.9, 0.99, 1];
const GOAL = "p50 500 ms, p99 1500 ms";
/**
 * An hour at a shell: something that takes a while each minute or so. Where nobody types, the hour
 * passes as fast as the machine computes.
 */
const HOUR = `exec > /dev/hvc0 2>&1
now() { cut -d. -f1 /proc/uptime; }
end=$(($(now) + 3600)); n=0
while [ $(now) -lt $end ]; do
  n=$((n + 1))
  case $((n % 5)) in
    0) dd if=/dev/zero bs=1M count=8 | sha256sum ;;
    1) dd if=/dev/urandom bs=64k count=16 | gzip | wc -c ;;
    2) i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; echo $i ;;
    3) find / -xdev | sort | md5sum ;;
    4) ls -l / ;;
  esac
  sleep $((5 + n * 37 % 115))
done`;
/** Nothing but work. */
const BUSY_S = 60;
const BUSY = `end=$(($(cut -d. -f1 /proc/uptime) + ${BUSY_S}))
while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do head -c 8000000 /dev/zero | sha256sum; done`;

export async function measureExact({ home, owner }) {
  const machine = owner.url();
  await typeLine(owner, `clear; ${BUSY.replace("\n", "; ")}; echo over`);
  await rest(BUSY_S * 1000);
  await pictureWhere(owner, (rows) => rows.includes("over") && hasPrompt(rows));
  const busyUntil = await reached(owner);
  const live = `/api/machines/${machine.split("/").at(-1)}`;

  const from = busyUntil - BUSY_S * 1e9;
  await spread(owner, "a running machine's minute of nothing but work", live, from, busyUntil);

  const hour = await upload(home, owner, await record());
  const path = `/api/machines/${hour.id}`;
  const { begin_ns, end_ns } = await owner.evaluate(askFor, `${path}/timeline`);
  const first = await ask(owner, path, Array.from({ length: FLOOR }, () => begin_ns));
  report(
    `exact state at the first instant of a recording, where nothing is replayed, ${FLOOR} times`,
    percentiles(took(first), [0.5, 1]),
    "",
  );
  await spread(owner, "an hour at a shell", path, begin_ns, end_ns);
}

/** Random instants, one after the other. */
async function spread(owner, what, path, from, until) {
  const next = random();
  const instants = Array.from({ length: ASKED }, () => Math.floor(from + next() * (until - from)));
  const answers = await ask(owner, path, instants);
  report(
    `exact state at ${ASKED} random instants of ${what}`,
    percentiles(took(answers), SHARES),
    GOAL,
  );
  const again = await ask(owner, path, instants.slice(0, AGAIN));
  for (const [at, { state }] of again.entries()) {
    const { instructions, digest } = answers[at].state;
    const isSame = instructions === state.instructions && digest === state.digest;
    if (!isSame) throw new Error(`another state at ${instants[at]}`);
  }
}

const took = (answers) => answers.map(({ ms }) => ms);

async function ask(owner, path, instants) {
  const answers = [];
  for (const at of instants) {
    const answer = await owner.evaluate(askTimed, `${path}/state?at_ns=${at}&console=0`);
    if (!(answer.state?.at_ns >= at)) throw new Error(`no state at ${at}: ${JSON.stringify(answer)}`);
    answers.push(answer);
  }
  return answers;
}

/** Runs in the page. */
async function askTimed(path) {
  const start = performance.now();
  const answer = await fetch(path);
  const state = await answer.json();
  return { state, ms: performance.now() - start };
}

/** Runs in the page. */
async function askFor(path) {
  return (await fetch(path)).json();
}

/** An hour's recording, as bytes. */
async function record() {
  // Where no machine is called as the image is.
  const home = await Home.make();
  const folder = await mkdtemp(join(tmpdir(), "stackvm-hour-"));
  const file = join(folder, "hour.vmcast");
  try {
    home.run("record", "tiny", "-o", file, "--", "sh", "-c", HOUR);
    return await readFile(file);
  } finally {
    await rm(folder, { recursive: true });
    await home.remove();
  }
}

async function upload(home, owner, bytes) {
  const answer = await owner.request.post(`${home.origin}/api/recordings?name=hour`, {
    data: bytes,
    headers: { origin: home.origin, "content-type": "application/octet-stream" },
    timeout: 120_000,
  });
  if (!answer.ok()) throw new Error(`not taken: ${answer.status()} ${await answer.text()}`);
  return answer.json();
}
