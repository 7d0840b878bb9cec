// The pages' times, as BENCHMARKS.md has them: `node benches/web/pages.mjs [NAME] ...` runs
// all parts or those that are named. STACKVM names a binary that is built already.

import { hasPrompt, Home, launch, openPage, pictureWhere } from "../../web/tests/stackvm.js";
import { measureCrash } from "./crash.mjs";
import { measureDrag } from "./drag.mjs";
import { measureEcho } from "./echo.mjs";
import { measureExact } from "./exact.mjs";
import { measureLink } from "./link.mjs";
import { printTable } from "./measure.mjs";
import { measurePast } from "./past.mjs";
import { measureSearch } from "./search.mjs";
import { measureSlow } from "./slow.mjs";
import { measureTry } from "./try.mjs";

const PARTS = {
  link: measureLink,
  echo: measureEcho,
  past: measurePast,
  drag: measureDrag,
  exact: measureExact,
  search: measureSearch,
  try: measureTry,
  slow: measureSlow,
  crash: measureCrash,
};
const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !Object.hasOwn(PARTS, name));
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(", ")}; there are ${Object.keys(PARTS).join(", ")}`);
  process.exit(2);
}

// After a crash the browsers look for the server where it was; the usual port may be somebody's.
process.env.STACKVM_UP ??= `--port ${20_000 + (process.pid % 10_000)}`;
const browser = await launch();
const home = await Home.make();
try {
  await home.up();
  const owner = await openPage(browser, home.link, { viewport: { width: 1280, height: 800 } });
  for (const name of wanted.length > 0 ? wanted : Object.keys(PARTS)) {
    await pictureWhere(owner, hasPrompt);
    await PARTS[name]({ browser, home, owner });
  }
  printTable();
} finally {
  await browser.close();
  await home.remove();
}
