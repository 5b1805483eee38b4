// Tells the log which messages the store could not give back: the first at once, then every ten seconds what has come since, with a
// line for each client as long as they are few. Knows no store.
import type { Clock } from '../base/clock.ts'
import type { Log } from '../observe/log.ts'

const periodMs = 10_000
/** As many clients have lines of their own; the rest shares one. */
const mostClients = 10

export class LostMessages {
  readonly #log: Log
  readonly #clock: Clock
  #messages = 0
  #toldAtMs = Number.NEGATIVE_INFINITY
  readonly #untold = new Map<string, number>()
  #untoldOfOthers = 0

  constructor(log: Log, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  note(clientId: string, messages: number): void {
    this.#messages += messages
    const known = this.#untold.get(clientId)
    if (known !== undefined || this.#untold.size < mostClients) this.#untold.set(clientId, (known ?? 0) + messages)
    else this.#untoldOfOthers += messages
    this.tell()
  }

  /** @returns whether there is something to tell later */
  tell(): boolean {
    if (this.#untold.size === 0) return false
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#toldAtMs < periodMs) return true
    this.#toldAtMs = nowMs
    for (const [client, lost] of this.#untold) this.#tell({ client, lost })
    if (this.#untoldOfOthers > 0) this.#tell({ clients: 'others', lost: this.#untoldOfOthers })
    this.#untold.clear()
    this.#untoldOfOthers = 0
    return false
  }

  #tell(fields: { client?: string; clients?: string; lost: number }): void {
    this.#log.error('THE STORE IS DAMAGED: messages that wait for a client cannot be read', {
      ...fields,
      lostInAll: this.#messages,
      fix: 'restart the instance: its store is checked then, and what can be read is rescued',
    })
  }
}
