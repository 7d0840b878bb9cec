// What is pure in the pages: addresses, finding, people, the keyboard, what a guest may have.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./modules.js";

function check(of, cases) {
  for (const [input, expected] of cases) assert.deepEqual(of(input), expected, String(input));
}

test("addresses lead to pages", async () => {
  const { placeOf } = await load("router.ts");
  const nowhere = { page: "nowhere" };
  check(
    (path) => placeOf(new URL(path, "http://localhost:7333")),
    [
      ["/", { page: "home" }],
      ["/#token", { page: "home" }],
      ["/m/brisk-otter", { page: "machine", id: "brisk-otter", console: null }],
      ["/m/brisk-otter/?console=1", { page: "machine", id: "brisk-otter", console: 1 }],
      ["/m/a?console=900", { page: "machine", id: "a", console: null }],
      ["/m/a?console=-1", { page: "machine", id: "a", console: null }],
      ["/s/ab12#secret", { page: "share", share: "ab12", secret: "secret" }],
      ["/embed/ab12#secret", { page: "embed", share: "ab12", secret: "secret" }],
      ["/r", { page: "recordings" }],
      ["/r/ab12?t=3", { page: "recording", share: "ab12" }],
      ["/m/", nowhere],
      ["/m/a/b", nowhere],
      ["/m/%2e%2e%2fapi", nowhere],
      ["/x/a", nowhere],
      ["/m", nowhere],
    ],
  );
});

test("machines are found by words in name, notes, tags and image", async () => {
  const { find, inOrder, tagsOf } = await load("home/filter.ts");
  const machine = (id, more) => ({ id, name: id, notes: "", tags: [], image: "tiny", ...more });
  const machines = [
    machine("notes", { notes: "Tuesday's café" }),
    machine("build", { tags: ["ci", "lesson"], image: "Debian 13" }),
    machine("class", { tags: ["lesson"] }),
  ];
  check(
    (query) => find(machines, query).map(({ id }) => id),
    [
      ["", ["notes", "build", "class"]],
      ["CAFE", ["notes"]],
      ["lesson", ["build", "class"]],
      [" lesson  debian ", ["build"]],
      ["lesson nothing", []],
    ],
  );
  const state = (id, state, created_unix_ms) => ({ id, state, created_unix_ms });
  const order = inOrder([
    state("a", "stopped", 9),
    state("b", "running", 1),
    state("c", "saved", 5),
  ]);
  assert.deepEqual(
    order.map(({ id }) => id),
    ["b", "c", "a"],
  );
  check(tagsOf, [
    ["", []],
    ["a, b  #c,,a", ["a", "b", "c"]],
  ]);
});

test("two hundred machines are looked through in a moment", async () => {
  const { find } = await load("home/filter.ts");
  const machines = Array.from({ length: 200 }, (_, at) => ({
    id: `machine-${at}`,
    name: `machine ${at}`,
    notes: "some notes ".repeat(1400),
    tags: ["one", "two"],
    image: "Debian 13",
  }));
  const start = performance.now();
  assert.equal(find(machines, "notes machine 199").length, 1);
  assert.ok(performance.now() - start < 900);
});

test("people have initials and one of eight hues", async () => {
  const { colour, initials } = await load("together/people.ts");
  check(initials, [
    ["Amber Fox", "AF"],
    ["ana", "An"],
    ["Ö", "Ö"],
    ["x y z", "XY"],
    ["  (Ida) <b>", "IB"],
    ["🦊", "?"],
    ["", "?"],
    ["𝒳yz", "𝒳y"],
  ]);
  check(colour, [
    [0, "var(--p1)"],
    [7, "var(--p8)"],
    [8, "var(--p1)"],
    [1e9 + 0.5, "var(--p1)"],
  ]);
});

test("the page knows who may type", async () => {
  const { holding, mayType } = await load("together/keyboard.ts");
  const free = { mode: "auto", passed: false, holder: null, waiting: [], locked: false, left_s: null };
  const rights = { viewer: ["see"], driver: ["see", "type"], owner: ["see", "type", "share"] };
  const both = ([change, role]) => {
    const keyboard = { ...free, ...change };
    const kind = holding(keyboard, 1, rights[role], role).kind;
    return [mayType(keyboard, 1, rights[role], role), kind];
  };
  check(both, [
    [
      [{}, "viewer"],
      ["no_right", "watching"],
    ],
    [
      [{}, "driver"],
      [null, "open"],
    ],
    [
      [{ passed: true }, "driver"],
      [null, "free"],
    ],
    [
      [{ passed: true, holder: 1 }, "driver"],
      [null, "yours"],
    ],
    [
      [{ passed: true, holder: 2 }, "driver"],
      ["not_yours", "theirs"],
    ],
    [
      [{ passed: true, holder: 2 }, "owner"],
      ["not_yours", "theirs"],
    ],
    [
      [{ locked: true }, "driver"],
      ["locked", "locked"],
    ],
    [
      [{ locked: true }, "owner"],
      [null, "open"],
    ],
  ]);
  const waiting = { ...free, passed: true, holder: 2, waiting: [3, 1] };
  assert.equal(holding(waiting, 1, rights.driver, "driver").place, 2);
});

test("a guest gets no more than it is given", async () => {
  const { clipboardText, linkTarget, plainTitle } = await load("terminal/guest.ts");
  check(linkTarget, [
    ["https://example.org/a?b#c", "https://example.org/a?b#c"],
    ["HTTP://Example.org", "http://example.org/"],
    ["javascript:alert(1)", null],
    ["file:///etc/passwd", null],
    ["data:text/html,x", null],
    ["https://bank.example@evil.example/", null],
    ["//evil.example", null],
    ["https://example.org/".padEnd(5000, "x"), null],
    ["", null],
  ]);
  check(clipboardText, [
    ["c;aGk=", "hi"],
    [";aGk=", "hi"],
    ["c;?", null],
    ["c;", null],
    ["c;%%%", null],
    ["c;/w==", null],
    ["nothing", null],
    [`c;${"A".repeat(200_000)}`, null],
  ]);
  check(plainTitle, [
    ["vim", "vim"],
    ["a\u0007b\u202ec\u2028d", "a b c d"],
    ["<img src=x>", "<img src=x>"],
    ["x".repeat(500), "x".repeat(120)],
  ]);
});

test("typing is what people typed", async () => {
  const { isRisky, isTyped, keyText, plainPaste, withAlt, withCtrl } =
    await load("terminal/typing.ts");
  check(isTyped, [
    ["a", true],
    ["\u001b[Z", true],
    ["\u001b[I", false],
    ["\u001b[O", false],
    ["", false],
  ]);
  check(withCtrl, [
    ["m", "\r"],
    ["C", "\u0003"],
    ["[", "\u001b"],
    [" ", "\0"],
    ["é", "é"],
    ["ab", "ab"],
  ]);
  check(withAlt, [
    ["x", "\u001bx"],
    ["xy", "xy"],
  ]);
  assert.equal(keyText("ArrowUp", false), "\u001b[A");
  assert.equal(keyText("ArrowLeft", true), "\u001bOD");
  assert.equal(keyText("|", true), "|");
  check(plainPaste, [
    ["a\r\nb\rc", "a\nb\nc"],
    ["ls\u001b[201~\u0007 -l\t", "ls[201~ -l\t"],
    ["\u0085x\u009b", "x"],
  ]);
  check(isRisky, [
    ["ls", false],
    ["ls\n", true],
    ["a\nb", true],
  ]);
});

test("numbers and times are as people read them", async () => {
  const format = await load("format.ts");
  check(format.bytes, [
    [0, "0 B"],
    [999, "999 B"],
    [1_234_567, "1.2 MB"],
    [999_600, "1.0 MB"],
  ]);
  check(format.memory, [
    [67_108_864, "64 MiB"],
    [2 ** 31, "2 GiB"],
    [1.5 * 2 ** 30, "1.5 GiB"],
  ]);
  check(format.duration, [
    [0, "0 s"],
    [59_999, "59 s"],
    [61_000, "1 min 1 s"],
    [3_600_000, "1 h"],
    [90_061_000, "1 d 1 h"],
    [-5, "0 s"],
  ]);
  check(format.plainName, [
    ["First steps!", "first-steps"],
    ["  Ünïcode & more ", "unicode-more"],
    ["---", ""],
    ["x".repeat(80), "x".repeat(63)],
  ]);
  assert.deepEqual(format.instant(751_500_386_674), { clock: "00:12:31", rest: ".500 386 674" });
  check(format.count, [
    [1, "1"],
    [1_234_567, "1\u202f234\u202f567"],
  ]);
});

test("links say what they allow and when they end", async () => {
  const { rightsOf } = await load("share/rights.ts");
  const { endWords, secondsUntil } = await load("share/ends.ts");
  const { embedSnippet } = await load("share/snippet.ts");
  assert.deepEqual(rightsOf("viewer").may, ["see", "see_past"]);
  assert.deepEqual(rightsOf("commenter").may, ["see", "see_past", "comment"]);
  assert.deepEqual(rightsOf("driver").may, ["see", "see_past", "comment", "type", "files"]);
  assert.equal(rightsOf("driver").mayNot.length, 4);
  check(secondsUntil, [
    ["hour", 3600],
    ["never", null],
  ]);
  assert.equal(endWords(null, 5), "");
  assert.equal(endWords(65_000, 0), "ends in 1 min 5 s");
  assert.equal(endWords(1, 2), "has ended");
  assert.match(embedSnippet('http://h/embed/a#b"><script>'), /^<iframe src="[^"<]*"/);
});

test("the strip folds idle time, and finds instants again", async () => {
  const { Tape } = await load("past/tape.ts");
  const s = 1e9;
  const bin = (at, output_bytes, typed_bytes = 0) => ({
    at_ns: at * s,
    output_bytes,
    typed_bytes,
    typist: null,
  });
  const view = (bins, end = 3600) => ({
    begin_ns: 0,
    end_ns: end * s,
    step_ns: s,
    bins,
    entered_ns: [],
    typists: [],
  });
  const busy = view([bin(0, 10), bin(5, 1000), bin(1800, 10, 4), bin(3590, 10)]);
  const tape = new Tape(busy);
  // Half an hour in which nothing happened takes no more room than a few seconds.
  assert.equal(tape.folds.length, 2);
  for (const { from, to } of tape.folds) assert.ok(to - from <= 0.031, `${from} to ${to}`);
  for (const at of [0, 3, 5.5, 700, 1799.5, 1801, 2000, 3590, 3600]) {
    const place = tape.place(at * s);
    assert.ok(place >= 0 && place <= 1, `${at} is at ${place}`);
    assert.ok(Math.abs(tape.at(place) - at * s) <= 2e6, `${at}, found ${tape.at(place)}`);
  }
  const places = [0, 3, 700, 1801, 3590].map((at) => tape.place(at * s));
  assert.deepEqual(places, places.toSorted((a, b) => a - b));
  assert.equal(tape.place(-1), 0);
  assert.equal(tape.place(9999 * s), 1);

  const bars = tape.bars(busy, ({ output_bytes }) => output_bytes);
  assert.deepEqual(
    bars.map(({ height }) => height === 1),
    [false, true, false, false],
  );
  assert.equal(tape.bars(busy, ({ typed_bytes }) => typed_bytes).length, 1);

  // Nothing but idle time is one fold; no time at all is a place.
  assert.equal(new Tape(view([])).folds.length, 1);
  assert.equal(new Tape(view([])).at(0.5), 1800 * s);
  assert.equal(new Tape(view([], 0)).at(0.5), 0);
  assert.equal(new Tape(view([bin(0, 1)], 4)).folds.length, 0);
});

test("what was said stands where it belongs on the strip", async () => {
  const { pinsOf } = await load("past/pins.ts");
  const { Tape } = await load("past/tape.ts");
  const s = 1e9;
  const bin = (at) => ({ at_ns: at * s, output_bytes: 1, typed_bytes: 0, typist: null });
  const bins = [0, 2, 4, 6, 8, 9].map(bin);
  const tape = new Tape({ begin_ns: s, end_ns: 10 * s, step_ns: s, bins, entered_ns: [], typists: [] });
  let id = 0;
  const said = (at, text, name = "Ada") => ({
    id: (id += 1),
    name,
    hue: 0,
    text,
    at_unix_ms: 0,
    instant_ns: at === null ? null : at * s,
  });
  const shown = (all) => pinsOf(all, tape).map(({ at, count, words }) => [at / s, count, words]);
  assert.deepEqual(shown([]), []);
  // What happened, what has no instant, and what was before the strip's time is not there.
  assert.deepEqual(shown([said(2, "came", ""), said(null, "off"), said(0.5, "before")]), []);
  assert.deepEqual(shown([said(5, "there"), said(2, "here", "Bob"), said(2.01, "yes")]), [
    [2.01, 2, "Bob: here\nAda: yes"],
    [5, 1, "Ada: there"],
  ]);
  assert.ok(shown([said(3, "x".repeat(1000))])[0][2].length <= 300);
  const [pin] = pinsOf([said(10, "end")], tape);
  assert.equal(pin.place, 1);
});

test("an address leads to an instant", async () => {
  const { instantOf, instantPath } = await load("router.ts");
  check(
    (query) => instantOf(new URL(`http://localhost/m/a${query}`)),
    [
      ["", null],
      ["?t=83.5", 83.5e9],
      ["?t=0", 0],
      ["?t=3.811430528", 3811430528],
      ["?t=-1", null],
      ["?t=1e9", null],
      ["?t=123456789012", null],
    ],
  );
  assert.equal(instantPath("/m/a", 83_500_000_000.7), "/m/a?t=83.5");
  assert.equal(instantPath("/r/a", null), "/r/a");
});

test("a branch is called by its last command, until it has a name", async () => {
  const { branchName, commandOf } = await load("past/branches.ts");
  check(commandOf, [
    ["root@tiny:~# rm -rf /usr", "rm -rf /usr"],
    ["$ ls  ", "ls"],
    [">>> print(1) # one", "print(1) # one"],
    ["a price of 3 $ more", "a price of 3 $ more"],
    ["login", "login"],
    ["", ""],
  ]);
  const branch = (name, last) => branchName({ id: "brisk-otter", name, last });
  assert.equal(branch("brisk-otter", "root@tiny:~# make"), "make");
  assert.equal(branch("brisk-otter", "root@tiny:~#"), "root@tiny:~#");
  assert.equal(branch("brisk-otter", null), "brisk-otter");
  assert.equal(branch("saved", "root@tiny:~# make"), "saved");
});

test("what two machines printed is compared", async () => {
  const { compare } = await load("past/branches.ts");
  const same = (...lines) => lines.map((line) => ({ left: line, right: line, isSame: true }));
  const other = (left, right) => ({ left, right, isSame: false });
  assert.deepEqual(compare([], []), []);
  assert.deepEqual(compare(["a"], ["a"]), [{ folded: 1 }]);
  assert.deepEqual(compare(["a", "b", "c"], ["a", "x", "y", "c"]), [
    { rows: [...same("a"), other("b", "x"), other(null, "y"), ...same("c")] },
  ]);
  const long = ["1", "2", "3", "4", "5"];
  assert.deepEqual(compare([...long, "l"], [...long, "r"]), [
    { folded: 2 },
    { rows: [...same("3", "4", "5"), other("l", "r")] },
  ]);
});
