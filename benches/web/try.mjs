// Machines of visitors' own: from the click on a link to its prompt, alone and fifty at once, and
// what each takes of the host's memory.

import { readFile } from "node:fs/promises";
import { atPrompt } from "./link.mjs";
import { percentiles, report, rest } from "./measure.mjs";
import { visitLink, watch } from "../../web/tests/stackvm.js";
import { enter, Viewer } from "./viewer.mjs";

const VISITS = 20;
const AT_ONCE = 50;
/** A guest that has just become a machine of its own is done with that. */
const SETTLED_MS = 5000;

export async function measureTry({ browser, home, owner }) {
  const link = await visitLink(owner, AT_ONCE);
  const times = [];
  // One more: the first one waits for the moment to be in memory.
  for (let visit = 0; visit <= VISITS; visit += 1) {
    const context = await browser.newContext();
    const page = await context.newPage();
    watch(page);
    const start = performance.now();
    await page.goto(link, { waitUntil: "commit" });
    await page.waitForFunction(atPrompt, null, { polling: "raf" });
    times.push(performance.now() - start);
    await context.close();
  }
  report(
    `Try link to the prompt of an own machine, ${VISITS} first visits, empty cache`,
    `${percentiles(times.slice(1), [0.5, 0.9])}; the very first ${times[0].toFixed(0)} ms`,
    "1000 ms",
  );
  await atOnce(home, await visitLink(owner, AT_ONCE));
}

/** Visitors without browsers, whose load would be what is measured. */
async function atOnce(home, link) {
  const first = await Viewer.join(await enter(link));
  await first.picture;
  await rest(SETTLED_MS);
  const before = await memoryKib(home);
  const start = performance.now();
  const visits = Array.from({ length: AT_ONCE - 1 }, async () => {
    const viewer = await Viewer.join(await enter(link));
    const picture = await viewer.picture;
    if (!/root@\S+:~# ?/.test(picture)) throw new Error(`no prompt: ${picture}`);
    return { viewer, took: performance.now() - start };
  });
  const come = await Promise.all(visits);
  await rest(SETTLED_MS);
  const kib = (await memoryKib(home)) - before;
  report(
    `${AT_ONCE} visitors at once, until the last ${AT_ONCE - 1} see a prompt of their own`,
    percentiles(
      come.map(({ took }) => took),
      [0.5, 0.9, 0.99],
    ),
    "1000 ms",
  );
  report(
    "memory that each of them adds at the prompt",
    `${(kib / 1024 / (AT_ONCE - 1)).toFixed(1)} MiB`,
    "8 MiB",
  );
  for (const viewer of [first, ...come.map(({ viewer }) => viewer)]) viewer.close();
}

/** What all machines' processes share out among them (PSS), in KiB. */
async function memoryKib(home) {
  let kib = 0;
  for (const { pid } of JSON.parse(home.run("ls", "--json"))) {
    if (pid === null) continue;
    const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
    kib += Number(/^Pss:\s+(\d+)/m.exec(text)[1]);
  }
  return kib;
}
