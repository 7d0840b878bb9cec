// What this browser knows of all machines and tasks: everything once, then what changes, live.

import {
  ApiError,
  type Begun,
  call,
  callAll,
  type ChangeMachine,
  type HomeMessage,
  type ImageView,
  type MachineView,
  type NewMachine,
  type PowerAction,
  type TaskView,
} from "../api.ts";

const RETRY_MS_FIRST = 200;
const RETRY_MS_LAST = 1500;
/** How long a machine may take to be saved before it is deleted, and how often that is asked. */
const OFF_MS_MAX = 60_000;
const ASK_AGAIN_MS = 250;

export class Home {
  machines = $state.raw<MachineView[]>([]);
  tasks = $state.raw<TaskView[]>([]);
  images = $state.raw<ImageView[]>([]);
  isLoaded = $state(false);
  isLost = $state(false);
  /** The last one that was deleted, as long as that can be undone. */
  deleted = $state.raw<MachineView | null>(null);
  fault = $state.raw<unknown>(null);
  #socket: WebSocket | null = null;
  #retryMs = RETRY_MS_FIRST;
  #retry: ReturnType<typeof setTimeout> | undefined;
  readonly #end = new AbortController();

  constructor() {
    const { signal } = this.#end;
    window.addEventListener("online", () => this.#reopen(), { signal });
    this.#open();
    void this.load();
  }

  /** Reads what changes rarely, or what was there before this page. */
  async load(): Promise<void> {
    await this.attempt(async () => {
      this.images = await callAll<ImageView>("/api/images");
      for (const task of await callAll<TaskView>("/api/tasks")) this.#hearTask(task);
    });
  }

  create(machine: NewMachine): Promise<Begun> {
    return call<Begun>("POST", "/api/machines", machine);
  }

  async change(machine: MachineView, change: ChangeMachine): Promise<void> {
    const options = { version: machine.version };
    await this.attempt(async () => {
      const path = `/api/machines/${machine.id}`;
      this.#put([await call<MachineView>("PATCH", path, change, options)]);
    });
  }

  async power(machine: MachineView, action: PowerAction): Promise<void> {
    await this.attempt(() => call("POST", `/api/machines/${machine.id}/power`, { action }));
  }

  /** One that runs is saved first, so that it goes on where it was if it is taken back. */
  async delete(machine: MachineView): Promise<void> {
    await this.attempt(async () => {
      if (machine.state === "running" || machine.state === "paused") {
        await call("POST", `/api/machines/${machine.id}/power`, { action: "save" });
        await this.#untilOff(machine.id);
      }
      await call("DELETE", `/api/machines/${machine.id}`);
      this.machines = this.machines.filter(({ id }) => id !== machine.id);
      this.deleted = machine;
    });
  }

  async undelete(): Promise<void> {
    const { deleted } = this;
    if (!deleted) return;
    await this.attempt(async () => {
      const restored = await call<MachineView | undefined>(
        "POST",
        `/api/machines/${deleted.id}/restore`,
      );
      if (restored) this.#put([restored]);
      this.deleted = null;
    });
  }

  async cancel(task: TaskView): Promise<void> {
    await this.attempt(() => call("DELETE", `/api/tasks/${task.id}`));
  }

  taskOf(machine: string): TaskView | undefined {
    return this.tasks.find((task) => task.machine === machine && task.state === "running");
  }

  /** Does something, and keeps what goes wrong for people to read. */
  async attempt(act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.fault = error;
      // Somebody else was quicker: this page shows theirs.
      if (error instanceof ApiError && error.problem.status === 412) this.#reopen();
    }
  }

  close(): void {
    this.#end.abort();
    clearTimeout(this.#retry);
    this.#drop();
  }

  async #untilOff(machine: string): Promise<void> {
    const path = `/api/machines/${machine}`;
    const end = performance.now() + OFF_MS_MAX;
    for (;;) {
      const { state, name } = await call<MachineView>("GET", path);
      if (state === "saved" || state === "stopped" || state === "failed") return;
      if (performance.now() > end) throw new Error(`${name} does not stop; it is still there.`);
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
    }
  }

  #open(): void {
    const place = new URL("/api/live", location.href);
    place.protocol = place.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(place);
    socket.onmessage = (event: MessageEvent<string>) => {
      if (socket === this.#socket) this.#hear(JSON.parse(event.data) as HomeMessage);
    };
    socket.onclose = () => socket === this.#socket && this.#lose();
    this.#socket = socket;
  }

  #hear(message: HomeMessage): void {
    this.#retryMs = RETRY_MS_FIRST;
    this.isLost = false;
    switch (message.type) {
      case "machines":
        if (message.all) this.machines = message.machines;
        else this.#put(message.machines);
        this.isLoaded = true;
        return;
      case "machine_gone":
        this.machines = this.machines.filter(({ id }) => id !== message.id);
        return;
      case "task":
        this.#hearTask(message.task);
    }
  }

  #put(changed: MachineView[]): void {
    const rest = this.machines.filter(({ id }) => !changed.some((it) => it.id === id));
    this.machines = [...rest, ...changed];
  }

  #hearTask(task: TaskView): void {
    const rest = this.tasks.filter(({ id }) => id !== task.id);
    this.tasks = [...rest, task].sort((a, b) => b.started_unix_ms - a.started_unix_ms);
  }

  #lose(): void {
    this.#drop();
    if (this.#end.signal.aborted) return;
    this.isLost = this.#retryMs > RETRY_MS_FIRST * 4;
    this.#retry = setTimeout(() => this.#reopen(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_LAST);
  }

  #reopen(): void {
    clearTimeout(this.#retry);
    this.#drop();
    this.#open();
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }
}
