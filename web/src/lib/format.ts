// Numbers and times as people read them.

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** 1 234 567 is "1.2 MB". */
export function bytes(count: number): string {
  let unit = 0;
  let value = count;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(value < 99.95 ? 1 : 0)} ${UNITS[unit]}`;
}

/** Memory comes in powers of two: 536 870 912 is "512 MiB". */
export function memory(count: number): string {
  const mib = count / (1 << 20);
  return mib >= 1024 && mib % 512 === 0 ? `${mib / 1024} GiB` : `${Math.round(mib)} MiB`;
}

/** The share in whole per cent, never 100 before the end. */
export function percent(done: number, total: number): number {
  return total > 0 ? Math.min(100, Math.floor((done / total) * 100)) : 0;
}

/** 1 234 567 instructions, in groups of three. */
export function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

const STEPS: [number, string][] = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

/** The two largest units: "3 h 12 min". */
export function duration(milliseconds: number): string {
  let left = Math.max(0, Math.floor(milliseconds / 1000));
  const words: string[] = [];
  for (const [seconds, unit] of STEPS) {
    const whole = Math.floor(left / seconds);
    left -= whole * seconds;
    if (whole > 0 || (words.length === 0 && unit === "s")) words.push(`${whole} ${unit}`);
    else if (words.length > 0) break;
    if (words.length === 2) break;
  }
  return words.join(" ");
}

/** A machine's instant as its clock shows it: "00:12:31.500 386 674", nanoseconds and all. */
export function instant(nanoseconds: number): { clock: string; rest: string } {
  const whole = Math.floor(nanoseconds / 1e9);
  const part = (value: number) => String(value).padStart(2, "0");
  const clock = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60].map(part);
  const rest = String(Math.floor(nanoseconds % 1e9)).padStart(9, "0");
  return { clock: clock.join(":"), rest: `.${rest.replace(/(\d{3})(?=\d)/g, "$1 ")}` };
}

/** The time of day: "09:52". */
export function timeOfDay(unixMs: number): string {
  return new Date(unixMs).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** "1 key", "2 keys". */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${value} ${value === 1 ? one : many}`;
}

/** What somebody calls a machine, as machines can be called: "First steps!" is "first-steps". */
export function plainName(text: string): string {
  const plain = text.normalize("NFD").toLowerCase().replace(/[\u0300-\u036f]/g, "");
  return plain
    .replace(/[^a-z0-9_]+/g, "-")
    .replace(/^[-_]+/, "")
    .slice(0, 63)
    .replace(/-+$/, "");
}
