// Where this tab is, and how it goes elsewhere without loading anything again.

import { type Place, placeOf } from "./router.ts";

class Tab {
  place = $state<Place>(placeOf(new URL(location.href)));

  constructor() {
    window.addEventListener("popstate", () => this.#read());
    document.addEventListener("click", (event) => this.#follow(event));
  }

  go(path: string): void {
    history.pushState(null, "", path);
    this.#read();
  }

  /** As `go`, and "back" does not lead here. */
  replace(path: string): void {
    history.replaceState(null, "", path);
    this.#read();
  }

  /** Changes the address of the page that is here already. */
  show(path: string): void {
    if (path !== location.pathname + location.search) history.replaceState(null, "", path);
  }

  /** Takes the secret out of the address: it must not stay where it is seen, kept or copied. */
  forgetSecret(): void {
    history.replaceState(null, "", location.pathname + location.search);
  }

  #read(): void {
    this.place = placeOf(new URL(location.href));
    scrollTo(0, 0);
  }

  /** Links between the pages are links, and opening them in another tab works as everywhere. */
  #follow(event: MouseEvent): void {
    const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || !isPlain || event.defaultPrevented || link.target !== "") return;
    const address = new URL(link.href);
    if (address.origin !== location.origin || placeOf(address).page === "nowhere") return;
    event.preventDefault();
    this.go(address.pathname + address.search + address.hash);
  }
}

export const tab = new Tab();
