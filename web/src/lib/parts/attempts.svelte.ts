// What is asked of the server for a sheet or a page: one thing at a time, and what went wrong last.

export class Attempts {
  /** What went wrong last, for people to read. */
  fault = $state.raw<unknown>(null);
  isBusy = $state(false);

  async attempt(act: () => Promise<unknown>): Promise<void> {
    this.fault = null;
    this.isBusy = true;
    try {
      await act();
    } catch (error) {
      this.fault = error;
    } finally {
      this.isBusy = false;
    }
  }
}
