// Host processes that instances share: as many as the instances of a pool need, and an instance goes where there is room.
// Whoever shares a process shares its fate: when it ends by itself, all its instances have to start again.
import type { Lease } from './child-host.ts'
import type { HostProcess } from './host-process.ts'

/** A process that is coming up or there, and the places in it that are taken. */
interface Place {
  process: Promise<HostProcess>
  names: Set<string>
}

export class SharedPool {
  readonly #launch: () => Promise<HostProcess>
  readonly #places = new Set<Place>()

  constructor(launch: () => Promise<HostProcess>) {
    this.#launch = launch
  }

  /**
   * Finds or makes room for one more.
   * @param size instances per process
   * @throws OperatorError when no process comes up
   */
  async acquire(name: string, size: number): Promise<Lease> {
    for (;;) {
      const place = this.#findRoom(size)
      place.names.add(name)
      try {
        const host = await place.process
        if (host.isAlive) return { host, release: () => this.#release(place, host, name) }
      } catch (error) {
        this.#places.delete(place)
        throw error
      }
      // It has ended since it was found.
      this.#places.delete(place)
    }
  }

  #findRoom(size: number): Place {
    for (const place of this.#places) if (place.names.size < size) return place
    const place = { process: this.#launch(), names: new Set<string>() }
    this.#places.add(place)
    return place
  }

  async #release(place: Place, host: HostProcess, name: string): Promise<void> {
    place.names.delete(name)
    if (host.isAlive && place.names.size > 0) return
    this.#places.delete(place)
    if (place.names.size === 0) await host.end()
  }
}
