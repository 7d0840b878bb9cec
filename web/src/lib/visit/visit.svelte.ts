// A visitor's machine of their own: had, waited for, begun anew. Shows nothing.

import { call, type VisitView } from "../api.ts";
import { Attempts } from "../parts/attempts.svelte.ts";

export class Visit extends Attempts {
  readonly #bearer: string | null;
  view = $state.raw<VisitView>() as VisitView;

  constructor(view: VisitView, bearer: string | null) {
    super();
    this.view = view;
    this.#bearer = bearer;
  }

  /** Still waiting; once it is one's turn there is a machine. */
  readonly ask = () => this.#want({});

  /** The machine there is goes away, and another begins, if there is none who waits longer. */
  readonly anew = () => this.#want({ anew: true });

  async #want(wish: { anew?: boolean }): Promise<void> {
    await this.attempt(async () => {
      const path = `/api/shares/${this.view.link}/visits`;
      this.view = await call<VisitView>("POST", path, wish, { bearer: this.#bearer });
    });
  }
}
