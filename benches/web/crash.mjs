// The server is killed and started again under machines that run and people who type.

import { createHash } from "node:crypto";
import { hasPrompt, pictureWhere, typeLine, watch } from "../../web/tests/stackvm.js";
import { percentiles, report } from "./measure.mjs";

const MACHINES = 20;
const BROWSERS = 5;
/** Lines that each of them types, and after how many of them the server is killed. */
const LINES = 60;
const KILL_AFTER = 20;

export async function measureCrash({ home, owner }) {
  await make(home, owner);
  const machines = listed(home);
  const pages = [];
  for (const { id } of machines.slice(0, BROWSERS)) {
    const page = await owner.context().newPage();
    watch(page);
    await page.goto(`${home.origin}/m/${id}`);
    await pictureWhere(page, hasPrompt);
    await typeLine(page, "stty -echo; cat > /tmp/typed; stty echo");
    pages.push(page);
  }
  const before = listed(home);
  const looked = performance.now();
  let killed = () => {};
  const isKilled = new Promise((resolve) => (killed = resolve));
  const typing = pages.map((page, at) => type(page, at === 0 ? killed : () => {}));
  await isKilled;
  const back = pages.map((page) => welcomed(page));
  await home.kill();
  const gone = performance.now();
  await home.up();
  const upAgain = performance.now();
  const welcomes = await Promise.all(back);
  await Promise.all(typing);
  const after = listed(home);
  const passed = performance.now() - looked;

  const same = after.filter(({ id, pid, state, uptime_ms }) => {
    const old = before.find((machine) => machine.id === id);
    return state === "running" && pid === old.pid && uptime_ms - old.uptime_ms > passed * 0.9;
  });
  const whole = (await Promise.all(pages.map(isWhole))).filter(Boolean).length;
  report(
    `\`kill -9\` of the server and \`up\` under ${machines.length} running machines: uptime went on in the same process`,
    `${same.length} of ${machines.length}`,
    "all",
  );
  report("the server listens again after", `${(upAgain - gone).toFixed(0)} ms`, "");
  const waits = welcomes.map((at) => Math.max(0, at - upAgain));
  report(
    `${BROWSERS} browsers are back by themselves, after that`,
    `${percentiles(waits, [0.5])}, worst ${Math.max(...waits).toFixed(0)} ms`,
    "2000 ms",
  );
  report(
    `${LINES} lines typed meanwhile in each of them, nothing lost or doubled`,
    `${whole} of ${BROWSERS}`,
    "all",
  );
  for (const page of pages) await page.close();
}

/** As many machines as are missing, through the HTTP interface. */
async function make(home, owner) {
  for (let count = listed(home).length; count < MACHINES; count += 1) {
    const status = await owner.evaluate(async (name) => {
      const headers = {
        "content-type": "application/json",
        "idempotency-key": crypto.randomUUID(),
      };
      const body = JSON.stringify({ image: "tiny", name });
      return (await fetch("/api/machines", { method: "POST", headers, body })).status;
    }, `crash-${count}`);
    if (status >= 300) throw new Error(`machine ${count} was refused: ${status}`);
  }
  await owner.waitForFunction(
    async (count) => {
      const answer = await fetch("/api/machines");
      const { items } = answer.ok ? await answer.json() : { items: [] };
      return (
        items.filter(
          ({ state, screen }) => state === "running" && screen.some((row) => row.includes("root@")),
        ).length >= count
      );
    },
    MACHINES,
    { polling: 500 },
  );
}

const listed = (home) => JSON.parse(home.run("ls", "--json"));

/** When a page has heard from a server that was not there before. */
function welcomed(page) {
  return new Promise((resolve) => {
    page.on("websocket", (line) => line.once("framereceived", () => resolve(performance.now())));
  });
}

const text = Array.from({ length: LINES }, (_, at) => `line ${at}\n`).join("");

async function type(page, killed) {
  const lines = text.trimEnd().split("\n");
  for (const [at, line] of lines.entries()) {
    if (at === KILL_AFTER) killed();
    await typeLine(page, line);
  }
}

/** The machine has exactly what was typed. */
async function isWhole(page) {
  await page.keyboard.press("Control+d");
  await pictureWhere(page, hasPrompt);
  await typeLine(page, "clear; md5sum < /tmp/typed");
  const rows = await pictureWhere(page, (it) => it.length === 2 && hasPrompt(it));
  return rows[0].split(" ")[0] === createHash("md5").update(text).digest("hex");
}
