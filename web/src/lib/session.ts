// How this browser gets in: the link's token, once, and from then on a cookie that scripts cannot
// see.

/** `out`: this browser needs a new link. `away`: nobody answers. */
export type Admission = "in" | "out" | "away";

/** Takes the token out of the address bar and exchanges it. */
export async function enter(): Promise<Admission> {
  const token = location.hash.slice(1);
  if (token) {
    // The address must not stay where it is seen, kept in the history, or copied.
    history.replaceState(null, "", location.pathname);
    const answer = await ask("POST", token);
    if (answer?.ok) return "in";
  }
  return admission();
}

/** Whether this browser is in. */
export async function admission(): Promise<Admission> {
  const answer = await ask("GET");
  if (!answer) return "away";
  return answer.ok ? "in" : "out";
}

/** A link that opens the machine in another browser, once; null if there is none to be had. */
export async function newLink(): Promise<string | null> {
  const answer = await fetch("/api/link", { method: "POST" }).catch(() => null);
  return answer?.ok ? answer.text() : null;
}

async function ask(method: "GET" | "POST", token?: string): Promise<Response | null> {
  const request = { method, ...(token === undefined ? {} : { body: token }) };
  return fetch("/api/session", request).catch(() => null);
}
