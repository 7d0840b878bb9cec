// What the HTTP interface knows of one machine and its page needs beside the live line: its
// version for changes, and whether its programs may use the clipboard; and what is done to it.

import {
  type Begun,
  call,
  callAll,
  type ChangeMachine,
  type InfoView,
  type MachineView,
  type MarkerView,
  type PowerAction,
  type ReportView,
} from "../api.ts";
import type { Role } from "../protocol.ts";
import { Attempts } from "../parts/attempts.svelte.ts";

export class Facts extends Attempts {
  readonly #path: string;
  readonly #bearer: string | null;
  view = $state.raw<MachineView | null>(null);

  constructor(id: string, bearer: string | null) {
    super();
    this.#path = `/api/machines/${id}`;
    this.#bearer = bearer;
  }

  async load(): Promise<void> {
    // The live line says why somebody may not see this machine.
    this.view = await call<MachineView>("GET", this.#path, undefined, {
      bearer: this.#bearer,
    }).catch(() => null);
  }

  async change(change: ChangeMachine): Promise<void> {
    await this.attempt(async () => {
      await this.load();
      const options = this.view ? { version: this.view.version } : {};
      this.view = await call<MachineView>("PATCH", this.#path, change, options);
    });
  }

  readonly power = (action: PowerAction) =>
    this.attempt(() => call("POST", `${this.#path}/power`, { action }));

  info(digest: "with digest" | "plain"): Promise<InfoView> {
    const query = digest === "with digest" ? "?digest=true" : "";
    return call<InfoView>("GET", `${this.#path}/info${query}`);
  }

  markers(): Promise<MarkerView[]> {
    return callAll<MarkerView>(`${this.#path}/markers`);
  }

  mark(name: string): Promise<MarkerView> {
    return call<MarkerView>("POST", `${this.#path}/markers`, { name });
  }

  /** Text about the machine as it is now, with a link to that moment. */
  report(role: Role): Promise<ReportView> {
    return call<ReportView>("POST", `${this.#path}/reports`, { role });
  }

  /** A new machine that goes on from a marker. */
  branch(marker: MarkerView): Promise<Begun> {
    return call<Begun>("POST", `${this.#path}/markers/${marker.index}/branch`, {});
  }
}
