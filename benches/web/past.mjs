// The strip: from the pointer's move to the picture of that instant, and from breaking in to a
// prompt of one's own that answers.

import { hasPrompt, pictureWhere, typeLine } from "../../web/tests/stackvm.js";
import { percentiles, report } from "./measure.mjs";

/** A minute in which the machine writes as much as in an hour at a shell, half a megabyte. */
const SECONDS = 60;
const LINES = 2000;
const DRAGS = 200;
const BRANCHES = 10;

export async function measurePast({ owner }) {
  const machine = owner.url();
  await typeLine(owner, `clear; for n in $(seq ${SECONDS}); do seq ${LINES}; sleep 1; done; echo over`);
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
  await pictureWhere(owner, (rows) => rows.includes("over") && hasPrompt(rows));
  await owner.reload();
  await owner.locator(".strip[aria-busy=false]").waitFor();
  report(
    `drag to ${DRAGS} random instants of a minute with an hour's output, until the picture is there`,
    percentiles(await drags(owner), [0.5, 0.99]),
    "p50 150 ms",
  );

  await owner.getByRole("button", { name: "LIVE" }).click();
  for (let line = 0; line < BRANCHES; line++) await typeLine(owner, `echo ${line}`);
  const last = `${BRANCHES - 1}`;
  await pictureWhere(owner, (rows) => rows.includes(last) && hasPrompt(rows));
  const times = [];
  for (const entered of await enters(owner, BRANCHES)) {
    await owner.goto(`${machine}?t=${(entered - 1) / 1e9}`);
    await owner.locator('[aria-label="The terminal then"][aria-busy="false"]').waitFor();
    const start = performance.now();
    await owner.getByRole("button", { name: "Break in" }).click();
    await owner.waitForURL((url) => url.pathname !== new URL(machine).pathname);
    await pictureWhere(owner, (rows) => rows.length > 0);
    await owner.keyboard.type("@");
    await pictureWhere(owner, (rows) => rows.at(-1)?.endsWith("@") === true);
    times.push(performance.now() - start);
  }
  report(
    `break in, until the branch shows a key, ${BRANCHES} times`,
    percentiles(times, [0.5, 0.9]),
    "1000 ms",
  );
  await owner.goto(machine);
}

/** The instants (ns) of the machine's last Enters. */
async function enters(page, count) {
  const path = `/api${new URL(page.url()).pathname.replace("/m/", "/machines/")}/timeline`;
  const all = await page.evaluate(async (path) => (await fetch(path)).json(), path);
  return all.entered_ns.slice(-count);
}

/** Milliseconds of each. */
async function drags(page) {
  const { x, y, width, height } = await page.locator(".lane").boundingBox();
  await page.mouse.move(x + width - 3, y + height / 2);
  await page.mouse.down();
  const times = [];
  let seed = 7;
  while (times.length < DRAGS) {
    // The same places in every run.
    seed = (seed * 16807) % 2147483647;
    await page.evaluate(expectPicture);
    await page.mouse.move(x + 2 + (seed % (width - 40)), y + height / 2);
    times.push(await page.evaluate(() => window.pictured));
  }
  await page.mouse.up();
  return times;
}

/** Runs in the page. */
function expectPicture() {
  window.pictured = new Promise((resolve) => {
    const moved = (event) => {
      const look = () => {
        const glass = document.querySelector('[aria-label="The terminal then"]');
        if (glass?.getAttribute("aria-busy") !== "false") return requestAnimationFrame(look);
        resolve(performance.now() - event.timeStamp);
      };
      // The page takes note of the move first.
      requestAnimationFrame(look);
    };
    addEventListener("pointermove", moved, { once: true });
  });
}
