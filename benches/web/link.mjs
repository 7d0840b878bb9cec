// From a shared link to a prompt at which one can type, in a browser that was never here.

import { closeDialog, share, watch } from "../../web/tests/stackvm.js";
import { percentiles, report } from "./measure.mjs";

const VISITS = 20;

export async function measureLink({ browser, owner }) {
  const { typing } = await share(owner);
  await closeDialog(owner);
  const times = [];
  let weight = null;
  for (let visit = 0; visit < VISITS; visit += 1) {
    const context = await browser.newContext();
    const page = await context.newPage();
    watch(page);
    const weighed = weight === null ? await weigh(page) : null;
    const start = performance.now();
    await page.goto(typing, { waitUntil: "commit" });
    await page.waitForFunction(atPrompt, null, { polling: "raf" });
    times.push(performance.now() - start);
    if (weighed) weight = weighed();
    await context.close();
  }
  const shown = percentiles(times, [0.5, 0.9]);
  report(
    `shared link to a usable prompt, ${VISITS} first visits, empty cache, loopback`,
    shown,
    "p50 1000 ms",
  );
  const kib = Math.ceil(weight.bytes / 1024);
  report(
    `what such a visit transfers until then, headers included`,
    `${kib} KiB in ${weight.requests} requests`,
    "350 KiB",
  );
}

/** Runs in the page: the prompt is drawn, and keys go there. */
export function atPrompt() {
  const rows = document.querySelector('section[aria-label="Terminal"] .xterm-rows')?.textContent;
  const isHeard = document.activeElement?.matches(".xterm textarea");
  return isHeard && /root@\S+:~#\s*$/.test((rows ?? "").replaceAll("\u00a0", " "));
}

/** Counts bytes as they come over the network. */
async function weigh(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  let bytes = 0;
  let requests = 0;
  session.on("Network.loadingFinished", ({ encodedDataLength }) => {
    bytes += encodedDataLength;
    requests += 1;
  });
  return () => ({ bytes, requests });
}
