// What branches are called, and how what two machines printed differs. Pure.

import { diffArrays } from "diff";

/** What a shell asks with, before a command: up to the first `#`, `$` or `%` that a blank follows. */
const PROMPT = /^\S{0,64}[#$%>] +/;

/** The command of a line as it was entered. */
export function commandOf(line: string): string {
  return line.replace(PROMPT, "").trim();
}

/** A branch is called what somebody calls it; else by its last command. */
export function branchName(branch: { id: string; name: string; last: string | null }): string {
  const command = branch.last === null ? "" : commandOf(branch.last);
  return branch.name !== branch.id || command === "" ? branch.name : command;
}

/** A line that both printed, or only one of them; `null` in a place where one printed nothing. */
export type Row = { left: string | null; right: string | null; isSame: boolean };
/** Rows side by side, or a number of lines that both printed and that are not shown. */
export type Part = { rows: Row[] } | { folded: number };

/** Lines around a difference that are shown although both printed them. */
const AROUND = 3;

export function compare(left: string[], right: string[]): Part[] {
  const rows: Row[] = [];
  let only: { left: string[]; right: string[] } = { left: [], right: [] };
  const settle = () => {
    const count = Math.max(only.left.length, only.right.length);
    for (let index = 0; index < count; index += 1) {
      const row = { left: only.left[index] ?? null, right: only.right[index] ?? null };
      rows.push({ ...row, isSame: false });
    }
    only = { left: [], right: [] };
  };
  for (const { added, removed, value } of diffArrays(left, right)) {
    if (added) only.right.push(...value);
    else if (removed) only.left.push(...value);
    else {
      settle();
      rows.push(...value.map((line) => ({ left: line, right: line, isSame: true })));
    }
  }
  settle();
  return folded(rows);
}

function folded(rows: Row[]): Part[] {
  const isNear = rows.map((_, index) =>
    rows.slice(Math.max(0, index - AROUND), index + AROUND + 1).some(({ isSame }) => !isSame),
  );
  const parts: Part[] = [];
  rows.forEach((row, index) => {
    const last = parts.at(-1);
    if (isNear[index]) {
      if (last && "rows" in last) last.rows.push(row);
      else parts.push({ rows: [row] });
    } else if (last && "folded" in last) last.folded += 1;
    else parts.push({ folded: 1 });
  });
  return parts;
}
