// Which page an address is of. Pure: reading and changing the address is `place.svelte.ts`'s.

export type Place =
  | { page: "home" }
  | { page: "machine"; id: string; console: number | null }
  | { page: "share"; share: string; secret: string }
  | { page: "embed"; share: string; secret: string }
  | { page: "recording"; share: string }
  | { page: "recordings" }
  | { page: "nowhere" };

/** What the server gives as names of machines and links. */
const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const CONSOLES_MAX = 255;

export function placeOf(address: URL): Place {
  const [first, id, ...rest] = address.pathname.split("/").slice(1);
  if (first === "" && id === undefined) return { page: "home" };
  if (first === "r" && (id === undefined || id === "")) return { page: "recordings" };
  if (id === undefined || !ID.test(id) || rest.some((part) => part !== "")) {
    return { page: "nowhere" };
  }
  const secret = address.hash.slice(1);
  switch (first) {
    case "m":
      return { page: "machine", id, console: consoleOf(address) };
    case "s":
      return { page: "share", share: id, secret };
    case "r":
      return { page: "recording", share: id };
    case "embed":
      return { page: "embed", share: id, secret };
    default:
      return { page: "nowhere" };
  }
}

export function machinePath(id: string, console: number | null = null): string {
  return console === null ? `/m/${id}` : `/m/${id}?console=${console}`;
}

/** The address of an instant of what `path` shows; null is live. */
export function instantPath(path: string, ns: number | null): string {
  return ns === null ? path : `${path}?t=${Math.floor(ns) / 1e9}`;
}

/** The instant that an address of a machine leads to (`?t=83.5`), in nanoseconds. */
export function instantOf(address: URL): number | null {
  const text = address.searchParams.get("t") ?? "";
  return /^\d{1,8}(\.\d{1,9})?$/.test(text) ? Math.round(Number(text) * 1e9) : null;
}

function consoleOf(address: URL): number | null {
  const text = address.searchParams.get("console") ?? "";
  const index = Number(text);
  return /^\d{1,3}$/.test(text) && index <= CONSOLES_MAX ? index : null;
}
