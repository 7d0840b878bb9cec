// What all live lines to the server have in common: how they are opened, and when again.

const RETRY_MS_FIRST = 200;
/** A network that is back must be noticed within 2 s, also where nobody says so. */
export const RETRY_MS_LAST = 1500;
/** So many attempts in a row are more than a short break. */
const FAILURES_LONG = 3;

/** Opens a WebSocket of this server. */
export function openSocket(path: string): WebSocket {
  const place = new URL(path, location.href);
  place.protocol = place.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(place);
}

/** Does something again after a while that doubles with each failure. */
export class Retry {
  readonly #act: () => void;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(act: () => void) {
    this.#act = act;
  }

  /** It has failed for longer than a short break. */
  get isLong(): boolean {
    return this.#failures >= FAILURES_LONG;
  }

  /** It has failed: again, later. */
  later(): void {
    this.cancel();
    const milliseconds = Math.min(RETRY_MS_FIRST * 2 ** this.#failures, RETRY_MS_LAST);
    this.#timer = setTimeout(this.#act, milliseconds);
    this.#failures += 1;
  }

  /** It went well: the next failure is the first. */
  succeed(): void {
    this.#failures = 0;
  }

  cancel(): void {
    clearTimeout(this.#timer);
  }
}
