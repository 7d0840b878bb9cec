import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./modules.js";

const { KeyQueue, KEPT_BYTES_MAX } = await load("machine/keys.ts");

const text = (word) => new TextEncoder().encode(word);
const numberOf = ({ frame }) => Number(new DataView(frame.buffer).getBigUint64(1));
const numbers = (keys) => keys.map(({ number }) => number);

function queue(words, next = 1) {
  const keys = new KeyQueue("00", next);
  for (const word of words) assert.equal(keys.push(0, text(word)), true);
  return keys;
}

test("keystrokes are numbered from one, and sent once", () => {
  const keys = queue(["a", "b"]);
  const taken = keys.take();
  assert.deepEqual(numbers(taken), [1, 2]);
  assert.deepEqual(taken.map(numberOf), [1, 2]);
  assert.deepEqual(keys.take(), []);
  assert.equal(keys.length, 2);
  keys.applied(1);
  assert.equal(keys.length, 1);
});

test("a new line sends again what nobody has spoken for", () => {
  const keys = queue(["a", "b", "c"]);
  keys.take();
  keys.applied(1);
  keys.resume(2);
  assert.deepEqual(numbers(keys.take()), [3]);
  keys.resume(2);
  assert.deepEqual(numbers(keys.take()), [3]);
  keys.resume(3);
  assert.deepEqual(keys.take(), []);
  assert.equal(keys.length, 0);
});

test("a refused keystroke is not sent again, and those around it are", () => {
  const keys = queue(["a", "b", "c"]);
  keys.take();
  keys.refused(2);
  keys.resume(0);
  assert.deepEqual(numbers(keys.take()), [1, 3]);
});

test("a page that was loaded anew goes on after everything it may have sent", () => {
  const known = queue([], 5);
  known.resume(3);
  assert.equal(known.next, 5);
  known.resume(9);
  assert.equal(known.next, 10);
});

test("what nobody has spoken for goes along to the page's next load", () => {
  const page = "0123456789abcdef0123456789abcdef";
  const keys = new KeyQueue(page, 1);
  for (const word of ["a", "\u00e9\u0000", "c"]) keys.push(2, text(word));
  const frames = keys.take().map(({ frame }) => [...frame]);
  keys.applied(1);
  const again = KeyQueue.from(keys.aside());
  assert.equal(again.page, page);
  assert.equal(again.next, 4);
  const taken = again.take();
  assert.deepEqual(numbers(taken), [2, 3]);
  assert.deepEqual(
    taken.map(({ frame }) => [...frame]),
    frames.slice(1),
  );
  assert.equal(KeyQueue.from(new KeyQueue(page, 7).aside()).next, 7);
  for (const aside of ["", "x", page, `${page} x`, `${page.slice(1)} 1`]) {
    assert.equal(KeyQueue.from(aside), null, aside);
  }
});

test("a paste waits here and not in the server, and nothing of it is lost", () => {
  const keys = new KeyQueue("00", 1);
  const paste = Uint8Array.from({ length: 600_000 }, (_, at) => at % 251);
  assert.equal(keys.push(0, paste), true);
  const sent = [];
  for (let round = 0; keys.length > 0; round += 1) {
    assert.ok(round < 100, "the queue stands still");
    const taken = keys.take();
    const bytes = taken.reduce((sum, { frame }) => sum + frame.length, 0);
    assert.ok(bytes > 0 && bytes <= 128 << 10);
    for (const { frame } of taken) sent.push(...frame.subarray(9));
    keys.applied(taken.at(-1).number);
  }
  assert.deepEqual(Uint8Array.from(sent), paste);
  assert.equal(keys.push(0, new Uint8Array(KEPT_BYTES_MAX + 1)), false);
  assert.equal(keys.length, 0);
});

// What the server does is simulated here; cutting real lines is up.test.js's.
test("every keystroke is applied once and in order, wherever the line is cut", () => {
  let seed = 1;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const keys = new KeyQueue("00", 1);
  const applied = [];
  const apply = (number) => {
    if (number > (applied.at(-1) ?? 0)) applied.push(number);
  };
  for (let typed = 0; typed < 2000 || keys.length > 0;) {
    if (typed < 2000) typed += Number(keys.push(0, text("x")));
    const onTheWay = keys.take();
    const cut = Math.floor(random() * (onTheWay.length + 3));
    for (const { number } of onTheWay.slice(0, cut)) apply(number);
    if (cut < onTheWay.length || random() < 0.05) keys.resume(applied.at(-1) ?? 0);
    else if (random() < 0.7) keys.applied(applied.at(-1) ?? 0);
  }
  assert.deepEqual(
    applied,
    Array.from({ length: 2000 }, (_, at) => at + 1),
  );
});
