// The links of one machine, and who can reach this server. Makes and revokes; shows nothing.

import {
  call,
  callAll,
  type CreatedShare,
  type NetworkSecurity,
  type NewShare,
  type ReachView,
  type ShareView,
} from "../api.ts";
import { Attempts } from "../parts/attempts.svelte.ts";
import type { SharedRole } from "./rights.ts";

/** A link that was made here: its secret is in no later answer. */
export type Made = { role: SharedRole; url: string; embedUrl: string; path: string };

export class Sharing extends Attempts {
  readonly #path: string;
  reach = $state.raw<ReachView | null>(null);
  shares = $state.raw<ShareView[] | null>(null);
  made = $state.raw<Made[]>([]);

  constructor(machine: string) {
    super();
    this.#path = `/api/machines/${machine}/shares`;
  }

  async load(): Promise<void> {
    await this.attempt(async () => {
      this.reach = await call<ReachView>("GET", "/api/reach");
      await this.#list();
    });
  }

  /** Makes the link for each of these roles; they replace those shown before. */
  async make(roles: SharedRole[], rest: Omit<NewShare, "role">): Promise<void> {
    await this.attempt(async () => {
      const made: Made[] = [];
      for (const role of roles) {
        const { url, embed_url, path } = await call<CreatedShare>("POST", this.#path, {
          ...rest,
          role,
        });
        made.push({ role, url, embedUrl: embed_url, path });
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

  async #list(): Promise<void> {
    const shares = await callAll<ShareView>(this.#path);
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
