// What people with a keyboard, a screen reader, large letters or no patience for motion get: axe
// looks at every page and sheet in light and dark, at three sizes, and a keyboard goes around.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import {
  closeDialog,
  hasPrompt,
  Home,
  launch,
  openPage,
  picture,
  pictureWhere,
  share,
  typeLine,
  visitLink,
  watch,
} from "./stackvm.js";

const axe = await readFile(new URL(import.meta.resolve("axe-core/axe.min.js")), "utf8");

/** Without motion, so that no colour is looked at on its way to another. */
const STILL = { reducedMotion: "reduce" };
const SIZES = {
  desk: { viewport: { width: 1440, height: 900 } },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
  "200 %": { viewport: { width: 720, height: 450 }, deviceScaleFactor: 2 },
};
const TARGET_PX = 24;

let browser;
let home;
/** The owner's page at each size. */
const pages = {};
let machineUrl;
let links;
before(async () => {
  browser = await launch();
  home = await Home.make();
  await home.up();
  pages.desk = await openPage(browser, home.link, { ...SIZES.desk, ...STILL });
  await pictureWhere(pages.desk, hasPrompt);
  machineUrl = pages.desk.url();
  links = await share(pages.desk);
  links.embed = /src="([^"]+)"/.exec(links.snippet)[1];
  await closeDialog(pages.desk);
  const storageState = await pages.desk.context().storageState();
  for (const size of ["phone", "200 %"]) {
    pages[size] = await openPage(browser, machineUrl, { ...SIZES[size], ...STILL, storageState });
    await pictureWhere(pages[size], hasPrompt);
  }
});
after(async () => {
  await browser.close();
  await home.remove();
});

/** What is wrong with what a page shows, in words. */
async function wrongWith(page) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe);
  const wrong = [];
  // What is not of colour is the same in both.
  for (const [colorScheme, options] of [
    ["light", {}],
    ["dark", { runOnly: ["color-contrast"] }],
  ]) {
    await page.emulateMedia({ colorScheme, ...STILL });
    const { violations } = await page.evaluate(
      (how) => window.axe.run(document, { ...how, resultTypes: ["violations"] }),
      options,
    );
    for (const { id, nodes } of violations) {
      for (const node of nodes) {
        const { message } = [...node.any, ...node.all, ...node.none][0] ?? { message: "" };
        wrong.push(`${colorScheme}: ${id}: ${node.html.slice(0, 160)}: ${message}`);
      }
    }
  }
  return [...wrong, ...(await page.evaluate(tooSmall, TARGET_PX)), ...(await tooWide(page))];
}

/** Runs in the page: what can be pressed and is smaller than a fingertip. */
function tooSmall(least) {
  const wrong = [];
  const pressable = "a[href], button, input, select, textarea, summary, [role=tab], [role=slider]";
  for (const element of document.querySelectorAll(pressable)) {
    // The terminal's own field is where it types and not what is pressed.
    if (!element.checkVisibility() || element.closest(".xterm, [inert], .unseen")) continue;
    const isInText = getComputedStyle(element).display === "inline";
    if (isInText && element.matches("p a, li a")) continue;
    const box = (element.closest("label") ?? element).getBoundingClientRect();
    if (box.width >= least && box.height >= least) continue;
    const html = element.outerHTML.slice(0, 120);
    wrong.push(`${box.width.toFixed(0)}×${box.height.toFixed(0)} px: ${html}`);
  }
  return wrong;
}

async function tooWide(page) {
  const [wide, given] = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  return wide > given ? [`${wide} px wide in a window of ${given}`] : [];
}

/** At every size, what `show` leads to has nothing wrong with it. */
function check(name, show) {
  test(`nothing is wrong with ${name}`, async () => {
    const wrong = [];
    for (const [size, page] of Object.entries(pages)) {
      const shown = (await show(page, size)) ?? page;
      for (const words of await wrongWith(shown)) wrong.push(`${size}: ${words}`);
      if (shown !== page) await shown.context().close();
    }
    assert.deepEqual(wrong, []);
  });
}

async function atMachine(page) {
  if (page.url() !== machineUrl) await page.goto(machineUrl);
  await page.locator(".xterm-rows", { hasText: "root@" }).waitFor();
}
async function atHome(page) {
  if (page.url() !== `${home.origin}/`) await page.goto(`${home.origin}/`);
  await page.getByRole("heading", { name: "Machines" }).waitFor();
  await page.getByRole("listitem").getByText("root@").waitFor();
}
const press = (page, name) => page.getByRole("button", { name, exact: true }).click();

/** A page of somebody who is not the owner. */
async function stranger(size, url, words) {
  const page = await openPage(browser, url, { ...SIZES[size], ...STILL });
  await page.getByText(words).first().waitFor();
  return page;
}

check("home", atHome);
check("what can be done with a machine", async (page) => {
  await atHome(page);
  const menu = page.getByRole("button", { name: /^What to do with / });
  await menu.click();
  await page.getByRole("button", { name: "Rename" }).waitFor();
});
check("notes and tags in the making", async (page) => {
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: /Notes on / }).click();
  await page.getByRole("textbox", { name: /^Notes on / }).waitFor();
});
check("what one is called", async (page) => {
  await atHome(page);
  await press(page, "You");
  await page.getByText("You own this server.").waitFor();
});
check("another device", async (page) => {
  await atHome(page);
  await press(page, "Another device");
  await page.getByRole("dialog").getByRole("img").waitFor();
});
check("a search that finds nothing", async (page) => {
  await closeDialog(page);
  await page.getByRole("searchbox", { name: "Find a machine" }).fill("nothing has this");
  await page.getByRole("button", { name: "Show all machines" }).waitFor();
});

check("the machine's past", async (page) => {
  await page.goto(`${machineUrl}?t=0`);
  await page.locator('[aria-label="The terminal then"][aria-busy="false"]').waitFor();
});
check("a search in the past", async (page) => {
  await press(page, "Search everything that was shown");
  await page.getByRole("textbox", { name: "Text that was on a terminal" }).fill("busybox");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: /BusyBox v/ }).waitFor();
});
check("a line of the past", async (page) => {
  await press(page, "Close the search");
  const glass = page.locator('[aria-label="The terminal then"] .xterm-screen');
  await glass.click({ position: { x: 20, y: 8 } });
  await page.locator('[aria-label="About this line"][aria-busy="false"]').waitFor();
});
test("a branch is begun", async () => {
  await press(pages.desk, "Break in");
  await pages.desk.waitForURL((url) => url.pathname !== new URL(machineUrl).pathname);
  links.branch = pages.desk.url();
});
check("a branch", async (page) => {
  if (page !== pages.desk) await page.goto(links.branch);
  await page.locator(".strip[aria-busy=false]").waitFor();
  await page.getByRole("button", { name: "Discard" }).waitFor();
});
check("keeping a branch", async (page) => {
  await press(page, "Keep");
  await page.getByRole("textbox", { name: "Name of the branch" }).waitFor();
});
check("a branch beside its machine", async (page) => {
  await press(page, "Cancel");
  await press(page, "Compare");
  await page.getByRole("dialog").locator(".sides[aria-busy=false]").waitFor();
});
test("the branch is thrown away", async () => {
  await closeDialog(pages.desk);
  await press(pages.desk, "Discard");
  await pages.desk.waitForURL((url) => url.pathname === new URL(machineUrl).pathname);
});
check("the machine", async (page) => {
  await atMachine(page);
});
check("the power menu", async (page) => {
  await press(page, "Power");
  await page.getByRole("button", { name: /^Shut down/ }).waitFor();
});
check("the other menu", async (page) => {
  await press(page, "More");
  await page.getByRole("button", { name: /^About this machine/ }).waitFor();
});
check("what is known of the machine", async (page) => {
  await page.getByRole("button", { name: /^About this machine/ }).click();
  await page.getByRole("dialog").waitFor();
});
check("marks", async (page) => {
  await closeDialog(page);
  await press(page, "More");
  await page.getByRole("button", { name: /^Marks/ }).click();
  await page.getByRole("dialog").waitFor();
});
check("a report in the making", async (page) => {
  await closeDialog(page);
  await press(page, "More");
  await page.getByRole("button", { name: /^Report a problem/ }).click();
  await page.getByRole("radio", { name: "Go on from it" }).check();
});
check("chat", async (page, size) => {
  await closeDialog(page);
  await page.getByRole("button", { name: /^Chat/ }).click();
  await page.getByRole("textbox", { name: "Say something" }).fill(`from ${size}`);
  await page.keyboard.press("Enter");
  await page.getByText(`from ${size}`).waitFor();
});
check("people", async (page) => {
  await page.getByRole("tab", { name: "People" }).click();
  await page.getByRole("list", { name: "People" }).waitFor();
});
check("finding in the terminal", async (page) => {
  await page.getByRole("complementary").getByRole("button", { name: "Close", exact: true }).click();
  await page.locator('section[aria-label="Terminal"] textarea').focus();
  await page.keyboard.press("Control+Shift+F");
  await page
    .getByRole("searchbox")
    .or(page.getByRole("textbox", { name: "Find" }))
    .waitFor();
});
check("the terminal read out", async (page) => {
  await page.keyboard.press("Escape");
  await press(page, "More");
  await page.getByRole("button", { name: /^Read the terminal out/ }).click();
  await page.locator(".xterm-accessibility").waitFor();
});
check("sharing", async (page) => {
  await press(page, "Share");
  await page.getByRole("button", { name: "Make the links" }).waitFor();
});
check("links that were made", async (page) => {
  await page.getByRole("button", { name: "Make the links" }).click();
  await page.getByRole("textbox", { name: "Embed code" }).waitFor();
});
check("sharing a moment", async (page) => {
  await page.getByRole("radio", { name: /^Moment/ }).check();
  await page.getByRole("radio", { name: "Go on from it" }).waitFor();
});
check("machines for visitors", async (page) => {
  await page.getByRole("radio", { name: /^Try/ }).check();
  await page.getByRole("radio", { name: "30 min" }).waitFor();
});
check("a machine that is paused", async (page) => {
  await closeDialog(page);
  if (page === pages.desk) {
    await press(page, "Power");
    await page.getByRole("button", { name: /^Pause/ }).click();
  }
  await page.getByText("Its time is held.").waitFor();
});
test("time goes on", async () => {
  await pages.desk.getByRole("button", { name: "Resume" }).click();
  await pages.desk.getByText("Its time is held.").waitFor({ state: "detached" });
});

check("a guest's page", async (page, size) => {
  const guest = await stranger(size, links.watching, "root@");
  await guest.getByRole("button", { name: /^Chat/ }).waitFor();
  return guest;
});
test("machines for visitors are there", async () => {
  // Those who leave keep their places for a minute: one for each size, and one more.
  links.own = await visitLink(pages.desk, 4);
  links.late = await visitLink(pages.desk, 1);
});
check("a visitor's machine", (page, size) => stranger(size, links.own, "A machine of your own"));
test("the only place is taken", async () => {
  const page = await openPage(browser, links.late);
  await pictureWhere(page, hasPrompt);
});
check("the queue", (page, size) => stranger(size, links.late, "All machines are taken just now"));
test("they end with their moments", async () => {
  const visitor = await openPage(browser, links.own);
  await pictureWhere(visitor, hasPrompt);
  const statuses = await pages.desk.evaluate(async () => {
    const { items } = await (await fetch("/api/machines")).json();
    const moments = items.filter(({ frozen }) => frozen);
    const remove = ({ id }) => fetch(`/api/machines/${id}`, { method: "DELETE" });
    return Promise.all(moments.map(async (moment) => (await remove(moment)).status));
  });
  assert.deepEqual(statuses, [204, 204]);
  await visitor.getByRole("heading", { name: "This link was ended" }).waitFor();
});
test("a recording is kept and published", async () => {
  const page = pages.desk;
  await page.goto(machineUrl);
  await press(page, "Keep a recording");
  await page.getByRole("textbox", { name: "Name of the recording" }).waitFor();
});
check("a recording in the making", async (page) => {
  if (page !== pages.desk) {
    await page.goto(`${machineUrl}?t=0`);
    await press(page, "Keep a recording");
  }
  await page.getByRole("form", { name: "New recording" }).waitFor();
});
test("it is kept", async () => {
  const page = pages.desk;
  await page.getByRole("button", { name: "Keep it" }).click();
  await page.getByRole("button", { name: "Publish", exact: true }).waitFor();
  links.recording = page.url();
});
check("publishing", async (page) => {
  if (page !== pages.desk) await page.goto(links.recording);
  await press(page, "Publish");
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("textbox", { name: "A text that must not be in it" }).fill("busybox");
  await dialog.getByRole("button", { name: "Look for it" }).click();
  await dialog.getByText(/^“busybox” is/).waitFor();
  await dialog.getByRole("radio", { name: "Public", exact: true }).check();
  await dialog.getByRole("form").getByRole("button", { name: /^(Publish|Change it)$/ }).click();
  links.published = await dialog.getByRole("textbox", { name: "Address" }).inputValue();
});
check("a published recording", (page, size) =>
  stranger(size, links.published, "You are watching"),
);
check("the recordings", async (page, size) => {
  const guest = await stranger(size, new URL("/r", links.published).href, "Recordings");
  await guest.getByRole("listitem").first().waitFor();
  return guest;
});
check("a recording in a frame", async (page, size) => {
  const address = links.published.replace("/r/", "/embed/");
  const guest = await openPage(browser, address, { ...SIZES[size], ...STILL });
  await guest.getByRole("slider", { name: "Instant shown" }).waitFor();
  return guest;
});
check("a frame", (page, size) => stranger(size, links.embed, "root@"));
check("a used link", (page, size) => stranger(size, home.link, "Run stackvm open"));
check("a page that is not there", (page, size) =>
  stranger(size, `${home.origin}/m/a/b`, "There is no such page"),
);
check("half a link", (page, size) =>
  stranger(size, links.typing.split("#")[0], "A part of this link is missing"),
);
check("a link that is wrong", (page, size) =>
  stranger(size, `${home.origin}/s/0000000000000000#0000`, "no such link"),
);
test("the recording goes", async () => {
  const id = new URL(links.recording).pathname.split("/").at(-1);
  const remove = async (id) =>
    (await fetch(`/api/machines/${id}`, { method: "DELETE" })).status;
  assert.equal(await pages.desk.evaluate(remove, id), 204);
});
test("a moment is kept", async () => {
  const keep = async (machine) => {
    const headers = { "content-type": "application/json" };
    const path = `/api/machines/${machine}/moments`;
    const answer = await fetch(path, { method: "POST", headers, body: "{}" });
    return (await answer.json()).id;
  };
  const machine = new URL(machineUrl).pathname.split("/").at(-1);
  links.moment = await pages.desk.evaluate(keep, machine);
});
check("a moment", async (page) => {
  await page.goto(`${home.origin}/m/${links.moment}`);
  await page.locator('[aria-label="The terminal then"][aria-busy="false"]').waitFor();
  await page.getByRole("button", { name: "Download", exact: true }).waitFor();
});
check("a moment's file", async (page) => {
  await press(page, "Download");
  await page.getByRole("dialog").getByText(/of memory/).waitFor();
});
test("the moment goes", async () => {
  const remove = async (id) =>
    (await fetch(`/api/machines/${id}`, { method: "DELETE" })).status;
  assert.equal(await pages.desk.evaluate(remove, links.moment), 204);
});
test("a link with a password is made", async () => {
  const page = pages.desk;
  await page.goto(machineUrl);
  await press(page, "Share");
  await page.getByLabel("Password").fill("correct horse");
  await page.getByRole("button", { name: "Make the links" }).click();
  const link = page.getByRole("textbox", { name: "Whoever has this one may type" });
  links.closed = await link.inputValue();
});
check("a password", async (page, size) => {
  const guest = await stranger(size, links.closed, "This link has a password");
  await guest.getByLabel("Password").fill("guess");
  await guest.getByRole("button", { name: "Open" }).click();
  await guest.getByText("That is not it.").waitFor();
  return guest;
});

/** Which region has the focus. */
const region = (page) =>
  page.evaluate(() => document.activeElement?.closest("[data-region]")?.dataset.region ?? "");

test("F6 leaves the terminal and goes around, and Shift-F6 goes back", async () => {
  const page = pages.desk;
  await page.goto(machineUrl);
  await atMachine(page);
  await page.getByRole("button", { name: /^Chat/ }).click();
  await page.locator('section[aria-label="Terminal"] textarea').focus();
  const around = async (key) => {
    const seen = [];
    for (let step = 0; step < 5; step += 1) {
      await page.keyboard.press(key);
      seen.push(await region(page));
      const ring = await page.evaluate(() => document.activeElement?.matches(":focus-visible"));
      assert.ok(ring, `${seen.at(-1)} does not show that it has the focus`);
    }
    return seen;
  };
  assert.deepEqual(await around("F6"), ["Side", "Timeline", "Header", "Consoles", "Terminal"]);
  assert.deepEqual(await around("Shift+F6"), ["Consoles", "Header", "Timeline", "Side", "Terminal"]);
});

test("Tab is the machine's in the terminal, and the page's elsewhere", async () => {
  const page = pages.desk;
  await atMachine(page);
  await typeLine(page, "clear; touch /tmp/the-only-one");
  await pictureWhere(page, (rows) => rows.length === 1 && hasPrompt(rows));
  await page.keyboard.type("echo /tmp/the-on");
  await page.keyboard.press("Tab");
  await pictureWhere(page, (rows) => rows.at(-1)?.includes("/tmp/the-only-one"));
  assert.equal(await region(page), "Terminal");
  await page.keyboard.press("Control+u");
  await page.keyboard.press("F6");
  const before = await page.evaluateHandle(() => document.activeElement);
  await page.keyboard.press("Tab");
  assert.ok(await page.evaluate((old) => document.activeElement !== old, before));
  assert.ok(hasPrompt(await pictureWhere(page, hasPrompt)), (await picture(page)).join("\n"));
});

test("nothing moves for whoever asked for that", async () => {
  const moving = async (reducedMotion) => {
    const context = await browser.newContext({ ...SIZES.desk, reducedMotion });
    const page = await context.newPage();
    watch(page);
    await page.goto(links.typing);
    await pictureWhere(page, hasPrompt);
    await page.locator(".xterm-cursor").waitFor();
    const blinks = await page.locator(".xterm-cursor-blink").count();
    const long = await page.evaluate(() =>
      [...document.querySelectorAll("*")].some((element) => {
        const { animationName, transitionDuration } = getComputedStyle(element);
        return animationName !== "none" || /[1-9]/.test(transitionDuration);
      }),
    );
    await context.close();
    return { blinks, long };
  };
  assert.deepEqual(await moving("reduce"), { blinks: 0, long: false });
  assert.deepEqual(await moving("no-preference"), { blinks: 1, long: true });
});

test("what changes is said to whoever does not see it", async () => {
  const page = pages.desk;
  const spoken = page.locator("p.unseen[role=status]");
  await atMachine(page);
  await spoken.filter({ hasText: /is running/ }).waitFor();
  const log = page.getByRole("log", { name: "Chat" });
  assert.equal(await log.getAttribute("aria-live"), "polite");
  const guest = await openPage(browser, links.typing);
  await pictureWhere(guest, hasPrompt);
  await log.getByText(/came/).last().waitFor();
  await guest.context().close();
});

test("nothing is wrong with a home that has no machine", async () => {
  const page = pages.desk;
  await atHome(page);
  await page.getByRole("button", { name: /^What to do with / }).click();
  await press(page, "Delete");
  await page.getByRole("button", { name: "Save, stop and delete? Press again" }).click();
  await page.getByText("was deleted").waitFor();
  const wrong = [];
  for (const [size, shown] of Object.entries(pages)) {
    await shown.goto(`${home.origin}/`);
    await shown.getByRole("heading", { name: "No machines yet" }).waitFor();
    for (const words of await wrongWith(shown)) wrong.push(`${size}: ${words}`);
  }
  assert.deepEqual(wrong, []);
});
