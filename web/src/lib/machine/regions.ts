// F6 goes around the regions of the page, and so out of the terminal, where Tab is the machine's.

/** Elements with `data-region`, in the order of the page, that are in sight. */
export function nextRegion(step: 1 | -1): void {
  const all = [...document.querySelectorAll<HTMLElement>("[data-region]")];
  const regions = all.filter((region) => region.checkVisibility());
  const at = regions.findIndex((region) => region.contains(document.activeElement));
  for (let tried = 1; tried <= regions.length; tried += 1) {
    const from = at < 0 && step < 0 ? 0 : at;
    const region = regions[(from + step * tried + regions.length * 2) % regions.length];
    if (region && focusFirst(region)) return;
  }
}

const FOCUSABLE =
  'a[href]:not([tabindex="-1"]), button:not([disabled]), input, textarea, select, summary, [tabindex="0"]';

function focusFirst(region: HTMLElement): boolean {
  for (const element of region.querySelectorAll<HTMLElement>(FOCUSABLE)) {
    element.focus();
    if (document.activeElement === element) return true;
  }
  return false;
}
