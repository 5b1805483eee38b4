// A whole broker in this process, over connections in memory and a disk of simulations that is slow as it pleases. It ends as a
// killed process does, or with its power: then the disk loses what was not flushed.
import type { Duplex } from 'node:stream'
import { type AtollBroker, createBroker } from 'atollmq'
import { createMemoryPair, FaultDisk } from 'atollmq/testing'
import type { CrashableBroker, Transport } from '../crash/crashable-broker.ts'
import { Gate } from '../crash/gate.ts'
import type { Ledger } from '../crash/ledger.ts'
import { RawClient } from '../kit/raw-client.ts'
import type { Level } from '../kit/wire.ts'
import type { Random } from '../simulation/random.ts'
import type { SimulatedTempo } from './simulated-tempo.ts'

export type End = 'kill' | 'power-cut'

export interface SimulationOptions {
  /** What an end without warning is. */
  ends: End
  /** The disk says that it has written what it has not. */
  isDiskLying?: boolean
}

/** What is left at the end of a round need not take long. */
const slowForMs = 1000
/** Longer than anything takes from one end of a connection to the other. */
const travelMs = 10

type Configuration = NonNullable<Parameters<typeof createBroker>[0]>

interface Life {
  broker: AtollBroker
  streams: Set<Duplex>
  stopClock: () => void
  stopDisk: () => void
}

export class SimulatedBroker implements CrashableBroker {
  life = 0
  readonly open = new Gate()
  readonly starts: { life: number; readyAfterMs: number }[] = []
  output = ''
  readonly wasDamaged = false
  readonly disk = new FaultDisk()
  readonly #tempo: SimulatedTempo
  readonly #configuration: Configuration
  readonly #random: Random
  readonly #ledger: Ledger
  readonly #options: SimulationOptions
  #current: Life | null = null
  #ended: Promise<void> = Promise.resolve()
  #sayEnded = (): void => {}

  constructor(
    tempo: SimulatedTempo,
    configuration: Configuration,
    random: Random,
    ledger: Ledger,
    options: SimulationOptions,
  ) {
    this.#tempo = tempo
    this.#configuration = { ...configuration, listeners: {}, features: { sysInterval: 0 }, gracePeriod: 0 }
    this.#random = random
    this.#ledger = ledger
    this.#options = options
    this.disk.isLying = options.isDiskLying ?? false
  }

  get isUp(): boolean {
    return this.#current !== null
  }

  get broker(): AtollBroker {
    if (this.#current === null) throw new Error('the broker is not up')
    return this.#current.broker
  }

  async start(): Promise<boolean> {
    this.life++
    const life = this.life
    this.disk.hold()
    this.#ended = new Promise((resolve) => {
      this.#sayEnded = resolve
    })
    const { clock, stop } = this.#tempo.clock()
    const surroundings = {
      clock,
      disk: this.disk,
      random: this.#random.next,
      writeLog: (line: string) => {
        this.output += `${line}\n`
      },
    }
    const broker = createBroker(this.#configuration, surroundings)
    const stopWrites = this.#runDisk()
    const callOff = this.#beShortOfRoom()
    const stopDisk = () => {
      callOff()
      stopWrites()
    }
    this.#current = { broker, streams: new Set(), stopClock: stop, stopDisk }
    await this.#tempo.still(() => broker.start())
    if (this.life !== life || !this.isUp) return false
    this.starts.push({ life, readyAfterMs: 0 })
    return true
  }

  /**
   * Room for very few changes at once, at first: then nearly every one is a batch of its own, and the end comes between them. The
   * fewer they are the sooner there is room, as thousands of batches, each written in a turn, would hold up everybody for seconds.
   */
  #beShortOfRoom(): () => void {
    const { disk } = this
    disk.mostChanges = this.#random.pick([Number.POSITIVE_INFINITY, 50, 4, 1])
    return this.#tempo.after(Math.min(disk.mostChanges * 20, slowForMs), () => {
      disk.mostChanges = Number.POSITIVE_INFINITY
    })
  }

  /** Writes arrive some turns after they were given, in each life at its own speed; at once when it lasts long. */
  #runDisk(): () => void {
    const random = this.#random
    const speed = random.pick([0.05, 0.2, 0.5, 1])
    const flushing = random.pick([0, 0.005, 0.05])
    const slowUntilMs = this.#tempo.nowMs() + slowForMs
    return this.#tempo.every(1, () => {
      const isSlow = this.#tempo.nowMs() < slowUntilMs
      if (this.disk.waiting > 0 && (!isSlow || random.chance(speed))) this.disk.release(1)
      if (this.#configuration.durability === 'fsync' || !random.chance(flushing)) return
      this.disk.flush()
      this.#ledger.flushed()
    })
  }

  async connect(_transport: Transport, level: Level): Promise<RawClient> {
    if (this.#current === null) throw new Error('nobody is there')
    const [far, near] = createMemoryPair()
    const { streams, broker } = this.#current
    streams.add(far)
    far.on('close', () => streams.delete(far))
    broker.accept(far)
    return RawClient.over(near, level)
  }

  end(signal: 'SIGKILL' | 'SIGTERM'): void {
    const life = this.#current
    if (life === null) return
    this.#current = null
    this.open.close()
    if (signal === 'SIGTERM') void this.#stop(life)
    else this.#crash(life)
  }

  async #stop({ broker, stopClock, stopDisk }: Life): Promise<void> {
    if (broker.phase === 'running') {
      await broker.stop()
    } else {
      this.disk.kill()
    }
    stopDisk()
    stopClock()
    // A machine that is switched off after its programs have stopped.
    this.disk.flush()
    this.#ledger.flushed()
    this.#sayEnded()
  }

  #crash({ streams, stopClock, stopDisk }: Life): void {
    const random = this.#random
    const isLying = this.disk.isLying && this.disk.waiting > 0
    if (!isLying && random.chance(0.5)) this.disk.arrive()
    if (this.#options.ends === 'kill') {
      this.disk.kill()
    } else {
      const { unflushed } = this.disk
      this.disk.cutPower(random.chance(0.5) ? 0 : random.between(0, unflushed))
    }
    stopDisk()
    stopClock()
    for (const stream of streams) stream.destroy()
    if (this.#options.ends === 'kill' || this.#configuration.durability === 'fsync') {
      this.#sayEnded()
      return
    }
    // Answers were still on their way when the power went.
    this.#tempo.after(travelMs, () => {
      this.#ledger.mayHaveLost()
      this.#ledger.flushed()
      this.#sayEnded()
    })
  }

  ended(): Promise<void> {
    return this.#ended
  }
}
