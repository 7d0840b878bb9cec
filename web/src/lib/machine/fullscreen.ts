// The glass as the whole screen, where even Ctrl-W, Ctrl-T and Ctrl-N reach the machine.

/** Keyboard Lock, where the browser has it and the page is a secure context. */
type LockableKeyboard = { lock?: (codes?: string[]) => Promise<void>; unlock?: () => void };

/**
 * Keys with combinations that browsers keep to themselves (close, new tab, new window, other tab),
 * and Escape, which would end full screen in the middle of `vi`. Alt-Tab stays the desktop's.
 */
const LOCKED_KEYS = ["KeyW", "KeyT", "KeyN", "PageUp", "PageDown", "Escape"];

function keyboard(): LockableKeyboard | undefined {
  return (navigator as Navigator & { keyboard?: LockableKeyboard }).keyboard;
}

/** What could not be had, for people; empty if everything could. */
export async function goFull(element: HTMLElement): Promise<string> {
  try {
    await element.requestFullscreen();
  } catch {
    return "This browser does not give this page the whole screen.";
  }
  try {
    if (!keyboard()?.lock) throw new Error("no keyboard lock");
    await keyboard()?.lock?.(LOCKED_KEYS);
    return "";
  } catch {
    return "The browser keeps Ctrl-W, Ctrl-T and Ctrl-N to itself here.";
  }
}

export async function leaveFull(): Promise<void> {
  keyboard()?.unlock?.();
  if (document.fullscreenElement) await document.exitFullscreen();
}
