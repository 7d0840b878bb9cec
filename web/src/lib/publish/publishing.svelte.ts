// What is known of a recording that may be published, and what is done about it.

import {
  call,
  type NewPublication,
  type OutgoingView,
  type PublicationView,
  type Published,
} from "../api.ts";
import { Attempts } from "../parts/attempts.svelte.ts";

export class Publishing extends Attempts {
  readonly #path: string;
  /** How it is published; undefined while nobody knows. */
  publication = $state.raw<PublicationView | null | undefined>(undefined);
  outgoing = $state.raw<OutgoingView | null>(null);
  /** The text that was looked for last, and where it is. */
  sought = $state("");
  isSeeking = $state(false);

  constructor(id: string) {
    super();
    this.#path = `/api/machines/${id}`;
  }

  async load(): Promise<void> {
    await this.attempt(async () => {
      const published = call<Published>("GET", `${this.#path}/publication`);
      const outgoing = call<OutgoingView>("GET", `${this.#path}/outgoing`);
      this.publication = (await published).publication;
      this.outgoing = await outgoing;
    });
  }

  async seek(text: string): Promise<void> {
    this.isSeeking = true;
    await this.attempt(async () => {
      const path = `${this.#path}/outgoing?q=${encodeURIComponent(text)}`;
      this.outgoing = await call<OutgoingView>("GET", path);
      this.sought = text;
    });
    this.isSeeking = false;
  }

  async publish(how: NewPublication): Promise<void> {
    await this.attempt(async () => {
      const path = `${this.#path}/publication`;
      this.publication = (await call<Published>("POST", path, how)).publication;
    });
  }

  async withdraw(): Promise<void> {
    await this.attempt(async () => {
      await call("DELETE", `${this.#path}/publication`);
      this.publication = null;
    });
  }

  get file(): string {
    return `${this.#path}/recording`;
  }
}
