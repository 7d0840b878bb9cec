// Searches through a long past, and what whoever drags meanwhile gets of it.

import { hasPrompt, pictureWhere, typeLine } from "../../web/tests/stackvm.js";
import { percentiles, random, report, rest } from "./measure.mjs";

const LINES = 500_000;
/** A terminal takes more than a megabyte a second. */
const PRINTED_S = 60;
const TIMES = 20;
const PICTURES = 200;

export async function measureSearch({ owner }) {
  const print = `BEGIN{for(n=1;n<=${LINES};n++) print n, "of what a service says all day long, in a line each"}`;
  await typeLine(owner, `clear; echo fir''st; awk '${print}' > /tmp/said; cat /tmp/said; echo la''st`);
  await rest(PRINTED_S * 1000);
  await pictureWhere(owner, (rows) => rows.includes("last") && hasPrompt(rows));
  const machine = `/api${new URL(owner.url()).pathname.replace("/m/", "/machines/")}`;
  const { begin_ns, end_ns, bins } = await owner.evaluate(answerOf, `${machine}/timeline`);
  const bytes = bins.reduce((sum, { output_bytes }) => sum + output_bytes, 0);
  const searches = [
    ["what stands in every line", "service", 100],
    ["what was printed last", "last", 1],
    ["what was printed before all of it", "first", 1],
    ["what is nowhere", "nowhere at all", 0],
  ];
  for (const [what, text, found] of searches) {
    const path = `${machine}/search?q=${encodeURIComponent(text)}`;
    const times = [];
    while (times.length < TIMES) times.push(await owner.evaluate(timeOf, [path, found]));
    report(
      `search in ${(bytes / 1e6).toFixed(0)} MB of output for ${what}`,
      percentiles(times, [0.5, 0.9]),
      "",
    );
  }
  const next = random();
  const instants = Array.from({ length: PICTURES }, () => begin_ns + next() * (end_ns - begin_ns));
  const pictures = instants.map((at) => `${machine}/picture?at_ns=${Math.floor(at)}`);
  const nowhere = `${machine}/search?q=nowhere`;
  for (const [searchers, beside] of [[0, ""], [4, " while four search for what is nowhere"]]) {
    const times = await owner.evaluate(timesBeside, [pictures, nowhere, searchers]);
    report(`a picture of that past${beside}`, percentiles(times, [0.5, 0.99]), "p50 150 ms");
  }
}

/** Runs in the page. */
async function answerOf(path) {
  return (await fetch(path)).json();
}

/** Runs in the page: milliseconds. */
async function timeOf([path, found]) {
  const begun = performance.now();
  const answer = await fetch(path);
  const lines = await answer.json();
  if (lines.length < found) throw new Error(`${path}: ${JSON.stringify(lines)}`);
  return performance.now() - begun;
}

/** Runs in the page: milliseconds of each picture, while so many search all the time. */
async function timesBeside([pictures, search, searchers]) {
  let isOver = false;
  const searching = Array.from({ length: searchers }, async () => {
    while (!isOver) await (await fetch(search)).json();
  });
  const times = [];
  for (const path of pictures) {
    const begun = performance.now();
    const answer = await fetch(path);
    if (!answer.ok) throw new Error(await answer.text());
    await answer.json();
    times.push(performance.now() - begun);
  }
  isOver = true;
  await Promise.all(searching);
  return times;
}
