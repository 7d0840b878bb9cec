// The pictures in docs/img, of a real server with a scene on it: `node tests/shots.js`.

import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { withPalette } from "./palette.js";
import {
  closeDialog,
  hasPrompt,
  Home,
  launch,
  openPage,
  pictureWhere,
  share,
  typeLine,
} from "./stackvm.js";

const FOLDER = fileURLToPath(new URL("../../docs/img", import.meta.url));
const DESK = { viewport: { width: 1440, height: 900 }, reducedMotion: "reduce" };
const PHONE = { viewport: { width: 390, height: 844 }, reducedMotion: "reduce" };
/** The first is the one that is there; the last one's prompt is shown. */
const MACHINES = [
  { name: "scratch", notes: "", tags: [] },
  { name: "first-boot", notes: "What a processor says it is.", tags: ["lesson", "kernel"] },
  { name: "seminar", notes: "Tuesday: pipes and files.", tags: ["lesson"] },
];
/** What is done in the machine that is shown, by whom. */
const LINES = [
  ["Ida", "uname -srm"],
  ["Tom", "seq 1 6 | awk '{ s += $1; print $1, s }' | tee sums"],
  ["Mara", "wc sums; sort -rn sums | head -2"],
  ["Ida", "cut -d' ' -f2 sums | tr '\\n' ' '; echo"],
];
const TALK = [
  ["Ida", "Each line has its number and the sum so far."],
  ["Tom", "So the last one should say 21?"],
  ["Mara", "It does. Can I sort them?"],
  ["Ida", "Go on, you have the same keyboard."],
];

const browser = await launch();
const home = await Home.make();
try {
  await home.up();
  await mkdir(FOLDER, { recursive: true });
  await shoot(await stage());
} finally {
  await browser.close();
  await home.remove();
}

/** Sets the scene, and returns the owner's page and the others'. */
async function stage() {
  const owner = await openPage(browser, home.link, DESK);
  await pictureWhere(owner, hasPrompt);
  await owner.getByRole("button", { name: "Understood" }).click();
  await owner.goto(`${home.origin}/`);
  const [first, ...others] = MACHINES;
  for (const { name } of others) {
    await owner.getByLabel("Name", { exact: true }).fill(name);
    await owner.getByRole("button", { name: "New machine" }).click();
    await pictureWhere(owner, hasPrompt);
    if (name === "first-boot") await typeLine(owner, "clear; cat /proc/cpuinfo | head -6");
    await owner.goto(`${home.origin}/`);
  }
  await describe(owner, "tiny", first);
  for (const machine of others) await describe(owner, machine.name, machine);

  await owner.getByRole("link", { name: others.at(-1).name, exact: true }).click();
  await pictureWhere(owner, hasPrompt);
  const { typing } = await share(owner);
  await closeDialog(owner);
  const people = { Ida: owner };
  for (const name of ["Tom", "Mara"]) {
    people[name] = await openPage(browser, typing, DESK);
    await pictureWhere(people[name], hasPrompt);
  }
  for (const [name, page] of Object.entries(people)) await introduce(page, name);
  await owner.getByRole("radio", { name: "All type" }).check();
  await typeLine(owner, "clear");
  await pictureWhere(owner, (rows) => rows.length === 1 && hasPrompt(rows));
  for (const [name, line] of LINES) await type(people[name], line);
  for (const page of Object.values(people)) await page.getByRole("tab", { name: "Chat" }).click();
  for (const [name, words] of TALK) {
    await people[name].getByRole("textbox", { name: "Say something" }).fill(words);
    await people[name].keyboard.press("Enter");
    await owner.getByText(words).waitFor();
  }
  return people;
}

async function describe(owner, name, machine) {
  await owner.goto(`${home.origin}/`);
  await owner.getByRole("link", { name, exact: true }).waitFor();
  const failed = await owner.evaluate(
    async ([old, { name, notes, tags }]) => {
      const { items } = await (await fetch("/api/machines")).json();
      const { id, version } = items.find((it) => it.name === old);
      const answer = await fetch(`/api/machines/${id}`, {
        method: "PATCH",
        headers: { "content-type": "application/json", "if-match": `"${version}"` },
        body: JSON.stringify({ name, notes, tags }),
      });
      return answer.ok ? null : answer.text();
    },
    [name, machine],
  );
  if (failed) throw new Error(failed);
  await owner.getByRole("link", { name: machine.name, exact: true }).waitFor();
}

async function introduce(page, name) {
  await page.getByRole("button", { name: /^Chat/ }).click();
  await page.getByRole("tab", { name: "People" }).click();
  await page.getByRole("button", { name: /^Your name/ }).click();
  await page.getByRole("textbox", { name: "Your name" }).fill(name);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: `Your name: ${name}` }).waitFor();
}

/** Types a line, and waits for the prompt after what it printed. */
async function type(page, line) {
  await typeLine(page, line);
  await pictureWhere(page, (rows) => {
    const at = rows.findLastIndex((row) => row.includes(line.slice(0, 12)));
    return at >= 0 && at < rows.length - 1 && hasPrompt(rows);
  });
}

/** Keeps what was done as a recording, and its picture that moves. */
async function record(owner) {
  const svg = await owner.evaluate(async (machine) => {
    const call = async (method, path, body) => {
      const headers = { "content-type": "application/json" };
      const answer = await fetch(path, { method, headers, body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(await answer.text());
      return answer;
    };
    const path = `/api/machines/${machine}`;
    const { begin_ns, end_ns, entered_ns } = await (await call("GET", `${path}/timeline`)).json();
    // From before the first line that counts: the first one cleared the screen.
    const from_ns = (entered_ns[0] ?? begin_ns) + 1;
    const kept = await call("POST", `${path}/recordings`, { from_ns, until_ns: end_ns });
    const { id } = await kept.json();
    const publication = { title: "Sums", visibility: "unlisted", role: "viewer" };
    const made = await call("POST", `/api/machines/${id}/publication`, publication);
    const poster = new URL((await made.json()).publication.poster_url).pathname;
    const text = await (await call("GET", poster)).text();
    await call("DELETE", `/api/machines/${id}`);
    return text;
  }, new URL(owner.url()).pathname.split("/").at(-1));
  await writeFile(`${FOLDER}/recording.svg`, svg);
}

/** Takes all the pictures: three pages, light and dark, at two sizes. */
async function shoot({ Ida: owner }) {
  await record(owner);
  const machine = owner.url();
  await owner.locator('section[aria-label="Terminal"] textarea').focus();
  await shootAll(owner, "");
  // Nothing but who it is comes along to the phone, and the hint that was understood.
  const storageState = await owner.context().storageState();
  await owner.goto(machine);
  const phone = await openPage(browser, machine, { ...PHONE, storageState, hasTouch: true });
  await pictureWhere(phone, hasPrompt);
  await typeLine(phone, "clear; cat sums; wc sums");
  await pictureWhere(phone, (rows) => rows.length > 5 && hasPrompt(rows));
  await phone.waitForFunction(() => parseInt(document.querySelector(".size")?.textContent) < 80);
  // Its bar goes away when nothing has scrolled for a moment.
  await phone.locator(".xterm .scrollbar.visible").first().waitFor({ state: "detached" });
  await shootAll(phone, "-phone");
}

async function shootAll(page, end) {
  await take(page, "machine", end);
  await page.getByRole("button", { name: "Share", exact: true }).click();
  await page.getByLabel("What to call it").fill("for the seminar");
  await page.getByRole("button", { name: "Make the links" }).click();
  await page.getByRole("img", { name: /^QR code/ }).waitFor();
  await take(page, "share", end);
  await page.goto(`${home.origin}/`);
  await page.getByRole("link", { name: MACHINES.at(-1).name, exact: true }).waitFor();
  await page.getByText("root@").first().waitFor();
  await take(page, "home", end);
}

async function take(page, name, end) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const picture = await page.screenshot({ caret: "initial" });
    await writeFile(`${FOLDER}/${name}-${colorScheme}${end}.png`, withPalette(picture));
  }
}
