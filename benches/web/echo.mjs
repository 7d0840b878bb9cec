// From a key's press to the frame in which the glass shows what the machine answered.

import {
  closeDialog,
  echoMs,
  hasPrompt,
  openPage,
  picture,
  pictureWhere,
  share,
  typeLine,
} from "../../web/tests/stackvm.js";
import { percentiles, report, rest } from "./measure.mjs";
import { enter, Viewer } from "./viewer.mjs";

const KEYS = 200;
const LINE_KEYS = 40;
const VIEWERS = 20;
const VIEWERS_IN_BROWSERS = 2;
const NEVER_MS = 20_000;
/** Between two keys of somebody who types fast; not a divisor of a frame's time. */
const PAUSE_MS = 47;

export async function measureEcho({ browser, owner }) {
  report(
    `keystroke to echo in the browser, ${KEYS} keys`,
    percentiles(await echoes(owner), [0.5, 0.99]),
    "p50 20 ms, p99 60 ms",
  );

  const { watching } = await share(owner);
  await closeDialog(owner);
  const pages = [];
  for (let at = 0; at < VIEWERS_IN_BROWSERS; at += 1) {
    pages.push(await openPage(browser, watching));
    await pictureWhere(pages.at(-1), hasPrompt);
  }
  const way = await enter(watching);
  const viewers = [];
  for (let at = VIEWERS_IN_BROWSERS; at < VIEWERS; at += 1) viewers.push(await Viewer.join(way));
  report(
    `the same with ${VIEWERS} viewers, ${VIEWERS_IN_BROWSERS} of them browsers`,
    percentiles(await echoes(owner), [0.5, 0.99]),
    "twice the above",
  );
  const seen = viewers.filter(({ output }) => output > KEYS).length;
  if (seen < viewers.length) throw new Error(`only ${seen} viewers saw the keys`);
  for (const viewer of viewers) viewer.close();
  for (const page of pages) await page.context().close();
}

/** As `echoMs`; a key that is never echoed ends the run instead of holding it up for ever. */
async function echoed(page, key) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no echo of ${key}`)), NEVER_MS);
  });
  try {
    return await Promise.race([echoMs(page, key), late]);
  } catch (error) {
    const rows = await picture(page);
    throw new Error(`the picture is:\n${rows.join("\n")}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

let lines = 0;

/** Milliseconds of each key. */
export async function echoes(page, keys = KEYS) {
  const times = [];
  while (times.length < keys) {
    // A line of its own: an empty screen may be the one before this was typed.
    const line = `line ${(lines += 1)}`;
    await typeLine(page, `clear; echo ${line}`);
    await pictureWhere(page, (rows) => rows.length === 2 && rows[0] === line && hasPrompt(rows));
    for (let at = 0; at < LINE_KEYS && times.length < keys; at += 1) {
      const key = String.fromCharCode(97 + (at % 26));
      times.push(await echoed(page, key));
      await rest(PAUSE_MS);
    }
    await page.keyboard.press("Control+u");
  }
  return times;
}
