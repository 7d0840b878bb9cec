// What goes out with a recording or a moment, where in it a text is, and the files of it.

import { call, type OutgoingView } from "../api.ts";
import { Attempts } from "../parts/attempts.svelte.ts";

export class Outgoing extends Attempts {
  readonly #path: string;
  view = $state.raw<OutgoingView | null>(null);
  /** The text that was looked for last, and where it is. */
  sought = $state("");
  isSeeking = $state(false);

  constructor(id: string) {
    super();
    this.#path = `/api/machines/${id}`;
  }

  async load(): Promise<void> {
    await this.attempt(async () => {
      this.view = await call<OutgoingView>("GET", `${this.#path}/outgoing`);
    });
  }

  async seek(text: string): Promise<void> {
    this.isSeeking = true;
    await this.attempt(async () => {
      const path = `${this.#path}/outgoing?q=${encodeURIComponent(text)}`;
      this.view = await call<OutgoingView>("GET", path);
      this.sought = text;
    });
    this.isSeeking = false;
  }

  /** All of it. */
  get file(): string {
    return `${this.#path}/recording`;
  }

  /** What its terminal showed. */
  get film(): string {
    return `${this.#path}/recording?format=cast`;
  }
}
