// What can be done with the console that is shown, wherever its keys are: above the glass, or in a
// phone's menu, where there is no room above it.

export type Tools = {
  readonly isFull: boolean;
  find(): void;
  /** Enters full screen, or leaves it. */
  full(): void;
  /** Opens the console in a window of its own. */
  window(): void;
};
