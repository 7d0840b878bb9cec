// The links of one machine, and who can reach this server. Makes and revokes; shows nothing.

import {
  call,
  callAll,
  type CreatedShare,
  type MachineView,
  type NetworkSecurity,
  type NewShare,
  type ReachView,
  type ShareView,
} from "../api.ts";
import { Attempts } from "../parts/attempts.svelte.ts";
import type { Kind, Shared, SharedRole } from "./rights.ts";

/** A link that was made here: its secret is in no later answer. */
export type Made = { kind: Kind; role: SharedRole; url: string; embedUrl: string; path: string };

export class Sharing extends Attempts {
  readonly #machine: string;
  /** The moment that is shared: the machine, if it is one, or the one that was made of it here. */
  #moment: string | null;
  reach = $state.raw<ReachView | null>(null);
  shares = $state.raw<ShareView[] | null>(null);
  made = $state.raw<Made[]>([]);

  constructor(machine: string, what: Shared) {
    super();
    this.#machine = machine;
    this.#moment = what === "moment" ? machine : null;
  }

  async load(): Promise<void> {
    await this.attempt(async () => {
      this.reach = await call<ReachView>("GET", "/api/reach");
      await this.#list();
    });
  }

  /** Makes the link for each of these roles; they replace those shown before. */
  async make(kind: Kind, roles: SharedRole[], rest: Omit<NewShare, "role">): Promise<void> {
    await this.attempt(async () => {
      const machine = kind === "live" ? this.#machine : await this.#keepMoment();
      const made: Made[] = [];
      for (const role of roles) {
        const link = await call<CreatedShare>("POST", sharesOf(machine), { ...rest, role });
        made.push({ kind, role, url: link.url, embedUrl: link.embed_url, path: link.path });
      }
      this.made = made;
      await this.#list();
    });
  }

  async revoke(share: ShareView): Promise<void> {
    await this.attempt(async () => {
      await call("DELETE", `/api/shares/${share.id}`);
      this.made = this.made.filter(({ path }) => !path.includes(share.id));
      await this.#list();
    });
  }

  /** Listens on the local network as well. */
  async openNetwork(security: NetworkSecurity): Promise<void> {
    await this.attempt(async () => {
      this.reach = await call<ReachView>("POST", "/api/reach/network", { security });
      this.#movedTo(this.reach);
    });
  }

  async closeNetwork(): Promise<void> {
    await this.attempt(async () => {
      await call("DELETE", "/api/reach/network");
      this.reach = await call<ReachView>("GET", "/api/reach");
      this.#movedTo(this.reach);
    });
  }

  async refresh(): Promise<void> {
    await this.#list().catch(() => {});
  }

  /** One moment does for all links that are made while the dialog is open. */
  async #keepMoment(): Promise<string> {
    const path = `/api/machines/${this.#machine}/moments`;
    this.#moment ??= (await call<MachineView>("POST", path, {})).id;
    return this.#moment;
  }

  async #list(): Promise<void> {
    const machines = new Set([this.#machine, this.#moment ?? this.#machine]);
    const lists = await Promise.all([...machines].map((it) => callAll<ShareView>(sharesOf(it))));
    const shares = lists.flat();
    this.shares = shares.filter(({ revoked_unix_ms }) => revoked_unix_ms === null);
  }

  /** Links that were made begin with the widest address there is now. */
  #movedTo(reach: ReachView): void {
    const base = reach.addresses[0]?.url.replace(/\/$/, "");
    if (base === undefined) return;
    this.made = this.made.map((link) => ({
      ...link,
      url: base + link.path,
      embedUrl: base + link.path.replace(/^\/s\//, "/embed/"),
    }));
  }
}

const sharesOf = (machine: string) => `/api/machines/${machine}/shares`;
