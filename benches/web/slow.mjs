// Somebody who reads 1 KB/s among 20 who look on while the machine prints without end.

import { closeDialog, hasPrompt, pictureWhere, share, typeLine } from "../../web/tests/stackvm.js";
import { percentiles, report, residentMb, rest } from "./measure.mjs";
import { enter, Viewer } from "./viewer.mjs";

const VIEWERS = 20;
const SLOW_BYTES_PER_SECOND = 1000;
const SECONDS = 20;
const SLOW_SECONDS = 60;

export async function measureSlow({ home, owner }) {
  const { watching } = await share(owner);
  await closeDialog(owner);
  const way = await enter(watching);
  const viewers = [];
  for (let at = 0; at < VIEWERS; at += 1) viewers.push(await Viewer.join(way));
  await typeLine(owner, "yes $(seq 30) &");
  await pictureWhere(owner, (rows) => rows.at(-1)?.endsWith("29 30"));

  const before = await look(home, viewers, SECONDS);
  viewers.pop().close();
  const slow = await Viewer.join(way, SLOW_BYTES_PER_SECOND);
  const after = await look(home, viewers, SLOW_SECONDS);
  const readKb = slow.read / 1000;
  const state = slow.isOpen
    ? `read ${readKb.toFixed(0)} KB`
    : `was shut out after ${readKb.toFixed(0)} KB`;
  const show = ({ kbPerSecond, lags }) =>
    `${kbPerSecond.toFixed(0)} KB/s each, pings ${percentiles(lags, [0.5, 0.99])}`;
  report(
    `\`yes\` in lines of 80 characters with ${VIEWERS} viewers, ${SECONDS} s`,
    show(before),
    "",
  );
  report(
    `the same, one of them reads 1 KB/s, ${SLOW_SECONDS} s: the others`,
    show(after),
    "as above",
  );
  const memory = [...before.memory.slice(-1), ...after.memory]
    .map((mb) => mb.toFixed(0))
    .join(", ");
  report(
    `the slow one ${state}; the server's memory, every ${EVERY_SECONDS} s`,
    `${memory} MB`,
    "bounded",
  );

  slow.close();
  for (const viewer of viewers) viewer.close();
  await typeLine(owner, "kill %1; wait; clear");
  // Of the job that ended the shell tells before its next prompt.
  await pictureWhere(owner, (rows) => rows.length <= 2 && hasPrompt(rows));
}

const EVERY_SECONDS = 10;

/** What viewers get in so many seconds: the slowest of them, all pings, the server's memory. */
async function look(home, viewers, seconds) {
  const start = performance.now();
  const output = viewers.map((viewer) => viewer.output);
  for (const viewer of viewers) viewer.lags = [];
  const memory = [];
  for (let second = 1; second <= seconds; second += 1) {
    await rest(1000);
    for (const viewer of viewers) viewer.ping();
    if (second % EVERY_SECONDS === 0) memory.push(await residentMb(home.pid));
  }
  const took = (performance.now() - start) / 1000;
  const kb = viewers.map((viewer, at) => (viewer.output - output[at]) / 1000 / took);
  return { kbPerSecond: Math.min(...kb), lags: viewers.flatMap(({ lags }) => lags), memory };
}
