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
import { openSocket, Retry } from "../retry.ts";

export class Home {
  machines = $state.raw<MachineView[]>([]);
  tasks = $state.raw<TaskView[]>([]);
  images = $state.raw<ImageView[]>([]);
  isLoaded = $state(false);
  isLost = $state(false);
  /** The last one that was deleted, as long as that can be undone. */
  deleted = $state.raw<MachineView | null>(null);
  fault = $state.raw<unknown>(null);
  /** The one that was asked to be deleted last. */
  #leaving: MachineView | null = null;
  #socket: WebSocket | null = null;
  readonly #retry = new Retry(() => this.#reopen());
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

  /** The server saves one that runs first; it is gone when the live line says so. */
  async delete(machine: MachineView): Promise<void> {
    this.#leaving = machine;
    await this.attempt(() => call("DELETE", `/api/machines/${machine.id}`));
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
    this.#retry.cancel();
    this.#drop();
  }

  #open(): void {
    const socket = openSocket("/api/live");
    socket.onmessage = (event: MessageEvent<string>) => {
      if (socket === this.#socket) this.#hear(JSON.parse(event.data) as HomeMessage);
    };
    socket.onclose = () => socket === this.#socket && this.#lose();
    this.#socket = socket;
  }

  #hear(message: HomeMessage): void {
    this.#retry.succeed();
    this.isLost = false;
    switch (message.type) {
      case "machines":
        if (message.all) this.machines = message.machines;
        else this.#put(message.machines);
        this.isLoaded = true;
        return;
      case "machine_gone":
        this.machines = this.machines.filter(({ id }) => id !== message.id);
        if (this.#leaving?.id === message.id) {
          this.deleted = this.#leaving;
          this.#leaving = null;
        }
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
    this.isLost = this.#retry.isLong;
    this.#retry.later();
  }

  #reopen(): void {
    this.#retry.cancel();
    this.#drop();
    this.#open();
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }
}
