// A store that keeps nothing beyond the process, for `durability: memory`, and one whose disk can be slow, full, or lose what
// was not flushed, for simulations of crashes. Knows no file.
import type { Clock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import type { Batch } from './batch.ts'
import { BatchedStore } from './batched-store.ts'
import { MemoryEngine } from './memory-engine.ts'
import type { Durability, Store } from './store.ts'

export function createMemoryStore(clock: Clock): Store {
  return new BatchedStore(new MemoryEngine(), { durability: 'memory', clock })
}

interface HeldWrite {
  readonly batch: Batch
  readonly durability: Durability
  go(): void
}

/**
 * A disk for `createFaultStore`: what is written is with the operating system first, and survives the end of the process; what
 * is flushed survives a power cut. Everything goes at once unless held.
 */
export class FaultDisk {
  readonly #flushed = new MemoryEngine()
  /** Written and not flushed, in order. */
  #unflushed: Batch[] = []
  #held: HeldWrite[] | null = null
  /** Says that a batch is written before it is: what a broker does on it must be found to lose what it has acknowledged. */
  isLying = false
  /** Counts ends of the process and of the power: a store from before writes no more. */
  generation = 0
  /** Why nothing can be written; null when it can. */
  failure: string | null = null
  /** With so many changes batches end where they can. */
  mostChanges = Number.POSITIVE_INFINITY
  /** A message for more kept Sessions is refused. */
  mostReceivers = Number.POSITIVE_INFINITY

  /** How many writes wait for `release`. */
  get waiting(): number {
    return this.#held?.length ?? 0
  }

  /** How many batches a power cut could take. */
  get unflushed(): number {
    return this.#unflushed.length
  }

  /** From now on writes wait for `release`. */
  hold(): void {
    this.#held ??= []
  }

  /** Lets the oldest `count` writes go on; without a count all of them and those to come. */
  release(count?: number): void {
    const held = this.#held ?? []
    if (count === undefined) this.#held = null
    for (const { go } of held.splice(0, count ?? held.length)) go()
  }

  /** What is being written arrives, and nobody is told: the process or the power ends in between. */
  arrive(): void {
    for (const { batch, durability } of (this.#held ?? []).splice(0)) this.#arrived(batch, durability)
  }

  /** Everything written so far reaches the disk. */
  flush(): void {
    for (const batch of this.#unflushed) this.#flushed.apply(batch)
    this.#unflushed = []
  }

  /** The process ends here: what is not written is lost. Open a new store for what is left. */
  kill(): void {
    this.generation++
    this.#held = null
  }

  /** The power goes: what is not flushed is lost, all of it or from the `keep`th unflushed batch on. */
  cutPower(keep = 0): void {
    this.kill()
    this.#unflushed = this.#unflushed.slice(0, keep)
    this.flush()
  }

  /** Fills an empty engine with what is read back at this moment. */
  load(engine: MemoryEngine): void {
    this.#flushed.copyTo(engine)
    for (const batch of this.#unflushed) engine.apply(batch)
  }

  /** Resolves when the batch is where `durability` wants it; never once the process has ended. */
  async write(batch: Batch, durability: Durability, generation: number): Promise<void> {
    if (generation !== this.generation) return new Promise(() => {})
    const held = this.#held
    if (held !== null && this.isLying) {
      held.push({ batch, durability, go: () => this.#arrived(batch, durability) })
      return
    }
    if (held !== null) await new Promise<void>((go) => held.push({ batch, durability, go }))
    else await new Promise<void>((resolve) => setImmediate(resolve))
    if (generation !== this.generation) return new Promise(() => {})
    if (this.failure !== null) throw new OperatorError('store-write', `the store can't be written: ${this.failure}`)
    this.#arrived(batch, durability)
  }

  #arrived(batch: Batch, durability: Durability): void {
    this.#unflushed.push(batch)
    if (durability === 'fsync') this.flush()
  }
}

/** A store on a `FaultDisk`; reads what the disk holds when it is opened. */
export function createFaultStore(
  disk: FaultDisk,
  options: { durability: 'os' | 'fsync'; clock: Clock; answerMs?: () => number },
): Store {
  return new BatchedStore(new FaultEngine(disk, options.durability), options)
}

class FaultEngine extends MemoryEngine {
  readonly #disk: FaultDisk
  readonly #durability: Durability
  readonly #generation: number

  constructor(disk: FaultDisk, durability: Durability) {
    super()
    this.#disk = disk
    this.#durability = durability
    this.#generation = disk.generation
    disk.load(this)
  }

  override get mostChanges(): number {
    return this.#disk.mostChanges
  }

  override get mostReceivers(): number {
    return this.#disk.mostReceivers
  }

  override prefetch(): Promise<void> {
    const { generation } = this.#disk
    return new Promise((resolve) => {
      setImmediate(() => {
        if (generation === this.#disk.generation) resolve()
      })
    })
  }

  override async write(batch: Batch): Promise<void> {
    await this.#disk.write(batch, this.#durability, this.#generation)
    this.apply(batch)
  }
}
