// What is known of a recording that may be published, and what is done about it.

import { call, type NewPublication, type PublicationView, type Published } from "../api.ts";
import { Attempts } from "../parts/attempts.svelte.ts";

export class Publishing extends Attempts {
  readonly #path: string;
  /** How it is published; undefined while nobody knows. */
  publication = $state.raw<PublicationView | null | undefined>(undefined);

  constructor(id: string) {
    super();
    this.#path = `/api/machines/${id}`;
  }

  async load(): Promise<void> {
    await this.attempt(async () => {
      const path = `${this.#path}/publication`;
      this.publication = (await call<Published>("GET", path)).publication;
    });
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
}
