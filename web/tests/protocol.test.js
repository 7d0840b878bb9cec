import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { load } from "./modules.js";

// crates/server/src/protocol.rs reads the same file in its test.
const fixture = JSON.parse(await readFile(new URL("protocol.json", import.meta.url), "utf8"));
const protocol = await load("protocol.ts");

test("the page understands every message of the server's protocol", () => {
  assert.equal(protocol.VERSION, fixture.version);
  assert.equal(protocol.CLIENT_MESSAGE_BYTES_MAX, fixture.client_message_bytes_max);
  for (const message of fixture.server) {
    assert.deepEqual(protocol.parseServerMessage(JSON.stringify(message)), message);
  }
  const every = (type, field) =>
    fixture.server.filter((message) => message.type === type).map((message) => message[field]);
  assert.deepEqual(every("state", "state"), [...protocol.STATES]);
  assert.deepEqual(every("refused", "reason"), [...protocol.REFUSALS]);
  assert.deepEqual(every("gone", "reason"), [...protocol.GONE]);
});

test("frames are the server's", () => {
  const output = protocol.parseFrame(Uint8Array.from(fixture.output_frame).buffer);
  assert.equal(output.kind, "output");
  assert.equal(output.console, 1);
  assert.equal(output.position, Number(0x0102030405060708n));
  assert.equal(new TextDecoder().decode(output.bytes), "hi");
  const { bytes, ...picture } = protocol.parseFrame(Uint8Array.from(fixture.picture_frame).buffer);
  const expected = { kind: "picture", console: 0, position: 7, columns: 80, rows: 24 };
  assert.deepEqual(picture, expected);
  assert.equal(new TextDecoder().decode(bytes), "hi");
  const input = protocol.inputFrame(0, 258, new TextEncoder().encode("ls\r"));
  assert.deepEqual([...input], fixture.input_frame);
});

test("what is not of the protocol is left alone", () => {
  for (const text of [
    "",
    "null",
    "[]",
    "{}",
    '{"type":"toString"}',
    '{"type":"state","state":"?","detail":"","action":""}',
    '{"type":"people","people":[{}]}',
    '{"type":"gone","reason":"other"}',
  ]) {
    assert.equal(protocol.parseServerMessage(text), null, text);
  }
  assert.equal(protocol.parseFrame(new ArrayBuffer(9)), null);
  assert.equal(protocol.parseFrame(new Uint8Array(10).fill(9).buffer), null);
  assert.equal(protocol.parseFrame(Uint8Array.from([1, 0, ...Array(8).fill(0)]).buffer), null);
});
