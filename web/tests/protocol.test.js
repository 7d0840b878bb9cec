import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createServer } from "vite";

// crates/server/src/protocol.rs reads the same file in its test.
const fixture = JSON.parse(await readFile(new URL("protocol.json", import.meta.url), "utf8"));
const root = fileURLToPath(new URL("..", import.meta.url));

let vite;
let protocol;
before(async () => {
  vite = await createServer({
    root,
    logLevel: "error",
    server: { middlewareMode: true, ws: false },
  });
  protocol = await vite.ssrLoadModule("/src/lib/protocol.ts");
});
after(() => vite.close());

test("the page understands every message of the server's protocol", () => {
  assert.equal(protocol.VERSION, fixture.version);
  assert.equal(protocol.CLIENT_MESSAGE_BYTES_MAX, fixture.client_message_bytes_max);
  for (const message of fixture.server) {
    assert.deepEqual(protocol.parseServerMessage(JSON.stringify(message)), message);
  }
  const states = fixture.server.filter(({ type }) => type === "state").map(({ state }) => state);
  assert.deepEqual(states, [...protocol.STATES]);
});

test("frames are the server's", () => {
  const output = protocol.parseOutput(Uint8Array.from(fixture.output_frame).buffer);
  assert.equal(output.screen, "log");
  assert.equal(output.position, Number(0x0102030405060708n));
  assert.equal(new TextDecoder().decode(output.bytes), "hi");
  const input = protocol.inputFrame("terminal", new TextEncoder().encode("ls\r"));
  assert.deepEqual([...input], fixture.input_frame);
});

test("what is not of the protocol is left alone", () => {
  for (const text of [
    "",
    "null",
    "[]",
    "{}",
    '{"type":"toString"}',
    '{"type":"state","state":"?"}',
  ]) {
    assert.equal(protocol.parseServerMessage(text), null, text);
  }
  assert.equal(protocol.parseOutput(new ArrayBuffer(8)), null);
  assert.equal(protocol.parseOutput(new Uint8Array(9).fill(9).buffer), null);
});
