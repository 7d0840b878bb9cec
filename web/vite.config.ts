import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

/** Writes `FILE.gz` beside each built file that shrinks, so that the server need not compress. */
function gzipped(): Plugin {
  let folder = "";
  return {
    name: "gzipped",
    apply: "build",
    configResolved(config) {
      folder = config.build.outDir;
    },
    async closeBundle() {
      const entries = await readdir(folder, { recursive: true, withFileTypes: true });
      for (const entry of entries) {
        // The first page gets a nonce per answer, so its bytes are not known here.
        if (!entry.isFile() || entry.name.endsWith(".gz") || entry.name === "index.html") continue;
        const path = join(entry.parentPath, entry.name);
        const bytes = await readFile(path);
        const zipped = gzipSync(bytes, { level: 9 });
        if (zipped.length < bytes.length) await writeFile(`${path}.gz`, zipped);
      }
    },
  };
}

export default defineConfig({
  plugins: [svelte(), gzipped()],
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
});
