// What most tests begin with: a server, and its owner at the prompt of a machine.

import { after, afterEach } from "node:test";
import { closeOthers, ownerAtPrompt } from "./stackvm.js";

/**
 * A server, and its owner's page in a browser at a machine's prompt, for all tests of a file. Other
 * people's browsers are closed after each test, all else at the end.
 */
export async function scene(options = {}) {
  const made = await ownerAtPrompt(options);
  const { browser, home, owner } = made;
  afterEach(() => closeOthers(browser, owner));
  after(async () => {
    await browser.close();
    await home.remove();
  });
  return made;
}
