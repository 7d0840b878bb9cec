// Who this browser is to the server: its owner, a guest of some machines, or nobody. What lets it
// in is a cookie that scripts cannot see.

import { ApiError, call, type OpenSession, type SessionView } from "./api.ts";

/** `out`: this browser is nobody here. `away`: the server does not answer. */
export type Standing = "asking" | "in" | "out" | "away";

class Session {
  standing = $state<Standing>("asking");
  view = $state<SessionView | null>(null);

  /** Asks the server who this is; with a one-time token of the owner's, exchanges that first. */
  async enter(token: string): Promise<void> {
    this.standing = "asking";
    if (token !== "" && (await this.#take(() => call("POST", "/api/session", { token })))) return;
    await this.#take(() => call("GET", "/api/session"));
  }

  /** Exchanges a link's secret; throws what the server says against it. */
  async open(link: OpenSession): Promise<SessionView> {
    const view = await call<SessionView>("POST", "/api/session", link);
    this.view = view;
    this.standing = "in";
    return view;
  }

  async rename(name: string): Promise<void> {
    this.view = await call<SessionView>("PATCH", "/api/session", { name });
  }

  async leave(): Promise<void> {
    await call("DELETE", "/api/session");
    this.view = null;
    this.standing = "out";
  }

  async #take(ask: () => Promise<SessionView>): Promise<boolean> {
    try {
      this.view = await ask();
      this.standing = "in";
    } catch (error) {
      const isAway = error instanceof ApiError && error.problem.status === 0;
      this.standing = isAway ? "away" : "out";
    }
    return this.standing === "in";
  }
}

export const session = new Session();
