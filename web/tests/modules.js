// The pages' own modules, as the tests of what is pure in them use them.

import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { createServer } from "vite";

const vite = await createServer({
  root: fileURLToPath(new URL("..", import.meta.url)),
  logLevel: "error",
  server: { middlewareMode: true, ws: false },
});
after(() => vite.close());

/** A module below `src/lib`. */
export function load(path) {
  return vite.ssrLoadModule(`/src/lib/${path}`);
}
