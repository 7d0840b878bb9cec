// The glass as the whole screen, where even Ctrl-W, Ctrl-T and Ctrl-N reach the machine.

/** Keyboard Lock, where the browser has it and the page is a secure context. */
type LockableKeyboard = { lock?: (codes?: string[]) => Promise<void>; unlock?: () => void };

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
    await keyboard()?.lock?.();
    return "";
  } catch {
    return "The browser keeps Ctrl-W, Ctrl-T and Ctrl-N to itself here.";
  }
}

export async function leaveFull(): Promise<void> {
  keyboard()?.unlock?.();
  if (document.fullscreenElement) await document.exitFullscreen();
}
