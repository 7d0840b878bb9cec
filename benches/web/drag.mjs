// Twenty viewers drag through a machine's past at once, while its owner types at it.

import { echoes } from "./echo.mjs";
import { Dragger } from "./dragger.mjs";
import { percentiles, random, report } from "./measure.mjs";
import { enter } from "./viewer.mjs";
import { hasPrompt, pictureWhere } from "../../web/tests/stackvm.js";

const DRAGGERS = 20;
const ROUNDS = 4;
const KEYS = 120;

export async function measureDrag({ owner }) {
  await pictureWhere(owner, hasPrompt);
  const link = await viewerLink(owner);
  const next = random();
  const draggers = [];
  for (let at = 0; at < DRAGGERS; at += 1) {
    draggers.push(await Dragger.join(await enter(link), at, next));
  }
  const [without, beside] = [[], []];
  // In turn, for the host's other work comes and goes; the viewers are there all the time.
  for (let round = 0; round < ROUNDS; round += 1) {
    without.push(...(await echoes(owner, KEYS)));
    const drags = draggers.map((dragger) => dragger.drag());
    beside.push(...(await echoes(owner, KEYS)));
    for (const dragger of draggers) dragger.stop();
    await Promise.all(drags);
  }
  const [pictures, states] = [[], []];
  const others = new Map();
  for (const dragger of draggers) {
    pictures.push(...dragger.pictures);
    states.push(...dragger.states);
    for (const [what, times] of dragger.others) others.set(what, (others.get(what) ?? 0) + times);
    dragger.close();
  }
  const keys = `${ROUNDS * KEYS} keys`;
  const shares = [0.5, 0.99];
  report(
    `keystroke to echo with ${DRAGGERS} viewers who look on, ${keys}`,
    percentiles(without, shares),
    "",
  );
  report("the same while all of them drag", percentiles(beside, shares), "p99 60 ms");
  report(
    `what they get meanwhile: ${pictures.length} pictures`,
    percentiles(pictures, shares),
    "p50 150 ms",
  );
  const rest = [...others].map(([what, times]) => `${times} ${what}`).join(", ");
  report(
    `and ${states.length} exact states where they rest for up to two seconds`,
    `${states.length > 0 ? percentiles(states, shares) : "–"}; ${rest || "no others"}`,
    "",
  );
}

/** A link for watching that shows all of the past. */
function viewerLink(owner) {
  const machine = new URL(owner.url()).pathname.split("/").at(-1);
  return owner.evaluate(async (machine) => {
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ role: "viewer", past: "all" });
    const answer = await fetch(`/api/machines/${machine}/shares`, { method: "POST", headers, body });
    if (!answer.ok) throw new Error(await answer.text());
    return (await answer.json()).url;
  }, machine);
}
