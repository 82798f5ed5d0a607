import { SharedMemory } from '../../src/shared/shared-memory.js';

/**
 * Explores every interleaving of a few actors over shared memory, one access at a time.
 *
 * An actor is an ordinary function that uses the memory it is given. To let it take one more step, it is run again from
 * its start: the accesses it has already made answer from a log, the next one is really made, and the one after that
 * suspends it with an exception. So the code under test is the production code, with no instrumentation of its own; it must
 * only reach shared memory through SharedMemory, and have no effects outside of it before its end.
 *
 * An actor may die before any of its steps. An access and its note (SharedMemory.addNoted, storeNoted) are one step: no thread dies
 * in between, and nobody else looks at the notes of one that lives.
 *
 * States that have been seen (same memory, same logs) are not explored twice.
 */
export interface Actor<T> {
  readonly name: string;
  run(memory: SteppedMemory): T;
}

export interface Outcome {
  /** What each actor returned; undefined if it was killed or is blocked for ever. */
  readonly results: ReadonlyMap<string, unknown>;
  readonly killed: string | undefined;
  readonly blocked: readonly string[];
  readonly memory: SharedMemory;
  /** The order of steps that led here. */
  readonly trace: readonly string[];
}

export interface Exploration {
  readonly states: number;
  readonly outcomes: number;
}

const MAX_STATES = 400_000;
const SUSPENDED = Symbol('suspended');
const BLOCKED = Symbol('blocked');

interface ActorState {
  readonly log: readonly unknown[];
  /** The same log as a number: equal logs of an actor have equal ids. */
  readonly logId: number;
  readonly status: 'running' | 'blocked' | 'done' | 'killed';
  readonly result?: unknown;
}

/** What is a step of its own: every access, or only the atomic ones, each together with the plain ones in front of it. */
export type Granularity = 'every access' | 'atomic accesses';

/** SharedMemory whose accesses are the steps of a scheduler. */
export class SteppedMemory extends SharedMemory {
  readonly #granularity: Granularity;
  #log: unknown[] = [];
  #next = 0;
  #stepLeft = false;

  constructor(buffer: SharedArrayBuffer, granularity: Granularity) {
    super(buffer);
    this.#granularity = granularity;
  }

  /** Answers from `log`, then lets one step through. */
  restart(log: readonly unknown[]): void {
    this.#log = [...log];
    this.#next = 0;
    this.#stepLeft = true;
  }

  get log(): readonly unknown[] {
    return this.#log;
  }

  /** Sleeps until the word is not 0, and takes it. */
  sleepUntilRung(word: number): void {
    this.#step(() => {
      if (super.load(word) === 0) throw BLOCKED;
      super.store(word, 0);
    });
  }

  override load(word: number): number {
    return this.#step(() => super.load(word));
  }
  override store(word: number, value: number): void {
    this.#step(() => super.store(word, value));
  }
  override add(word: number, value: number): number {
    return this.#step(() => super.add(word, value));
  }
  override or(word: number, bits: number): number {
    return this.#step(() => super.or(word, bits));
  }
  override and(word: number, bits: number): number {
    return this.#step(() => super.and(word, bits));
  }
  override exchange(word: number, value: number): number {
    return this.#step(() => super.exchange(word, value));
  }
  override read(word: number): number {
    return this.#plain(() => super.read(word));
  }
  override write(word: number, value: number): void {
    this.#plain(() => super.write(word, value));
  }
  override copyIn(offset: number, source: Uint8Array, start: number, end: number): void {
    this.#plain(() => super.copyIn(offset, source, start, end));
  }
  override copyOut(offset: number, length: number, target: Uint8Array, targetOffset: number): void {
    const bytes = this.#plain(() => {
      const copy = Buffer.alloc(length);
      super.copyOut(offset, length, copy, 0);
      return copy;
    });
    target.set(bytes, targetOffset);
  }

  override addNoted(word: number, value: number, notes: SharedMemory, note: number): number {
    return this.#step(() => super.addNoted(word, value, notes, note));
  }
  override storeNoted(word: number, value: number, notes: SharedMemory, note: number, by: number): void {
    this.#step(() => super.storeNoted(word, value, notes, note, by));
  }

  #step<T>(access: () => T): T {
    const made = this.#next < this.#log.length;
    const result = this.#access(access);
    if (!made) this.#stepLeft = false;
    return result;
  }

  #plain<T>(access: () => T): T {
    return this.#granularity === 'every access' ? this.#step(access) : this.#access(access);
  }

  #access<T>(access: () => T): T {
    if (this.#next < this.#log.length) return this.#log[this.#next++] as T;
    if (!this.#stepLeft) throw SUSPENDED;
    const result = access();
    this.#log.push(result);
    this.#next++;
    return result;
  }
}

/**
 * Calls `check` for every way in which the actors can end. With `kill`, also for every way in which that one actor dies
 * at any of its steps while the others go on.
 */
export function explore(options: {
  readonly memoryBytes: number;
  readonly actors: readonly Actor<unknown>[];
  readonly check: (outcome: Outcome) => void;
  readonly prepare?: (memory: SharedMemory) => void;
  readonly granularity?: Granularity;
  readonly kill?: string | undefined;
}): Exploration {
  const { actors, check, kill } = options;
  const memory = new SteppedMemory(new SharedArrayBuffer(options.memoryBytes), options.granularity ?? 'every access');
  const bytes = Buffer.from(memory.buffer);
  options.prepare?.(new SharedMemory(memory.buffer));
  const logs = new Map<string, { readonly log: readonly unknown[]; readonly logId: number }>();
  const seen = new Set<string>();
  let outcomes = 0;

  const step = (actor: Actor<unknown>, state: ActorState): ActorState => {
    memory.restart(state.log);
    const now = (status: ActorState['status'], result?: unknown): ActorState => {
      const key = `${state.logId}:${memory.log.slice(state.log.length).map(String).join()}`;
      const known = logs.get(key) ?? { log: memory.log, logId: logs.size + 1 };
      logs.set(key, known);
      return { ...known, status, result };
    };
    try {
      return now('done', actor.run(memory));
    } catch (thrown) {
      if (thrown === SUSPENDED) return now('running');
      if (thrown === BLOCKED) return { ...state, status: 'blocked' };
      throw thrown;
    }
  };

  interface State {
    readonly bytes: Buffer;
    readonly actors: readonly ActorState[];
    readonly step: string;
    readonly before: State | undefined;
  }
  const todo: State[] = [];
  const add = (state: State): void => {
    const key = `${state.bytes.toString('latin1')}${state.actors.map((actor) => `${actor.logId}${actor.status}`).join()}`;
    if (seen.has(key)) return;
    seen.add(key);
    if (seen.size > MAX_STATES) throw new Error(`More than ${MAX_STATES} states: make the case smaller`);
    todo.push(state);
  };

  add({
    bytes: Buffer.from(bytes),
    actors: actors.map(() => ({ log: [], logId: 0, status: 'running' })),
    step: 'start',
    before: undefined,
  });
  for (let state = todo.pop(); state !== undefined; state = todo.pop()) {
    let moved = false;
    for (const [index, actor] of actors.entries()) {
      const actorState = state.actors[index] as ActorState;
      if (actorState.status !== 'running') continue;
      state.bytes.copy(bytes);
      const after = step(actor, actorState);
      if (after.status !== 'blocked') {
        moved = true;
        add({ bytes: Buffer.from(bytes), actors: state.actors.with(index, after), step: actor.name, before: state });
      }
      if (actor.name === kill) {
        const killed = state.actors.with(index, { ...actorState, status: 'killed' });
        add({ bytes: state.bytes, actors: killed, step: `${actor.name} dies`, before: state });
      }
    }
    if (moved) continue;
    outcomes++;
    state.bytes.copy(bytes);
    const trace: string[] = [];
    for (let at: State | undefined = state; at !== undefined; at = at.before) trace.unshift(at.step);
    check({
      results: new Map(actors.map((actor, index) => [actor.name, state.actors[index]?.result])),
      killed: state.actors.some((actor) => actor.status === 'killed') ? kill : undefined,
      blocked: actors.filter((_, index) => state.actors[index]?.status === 'running').map((actor) => actor.name),
      memory: new SharedMemory(memory.buffer),
      trace,
    });
  }
  return { states: seen.size, outcomes };
}
