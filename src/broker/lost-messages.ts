// Tells whose messages were lost for one reason: the first at once, then every ten seconds what has come since, for each client as
// long as they are few. Knows neither the reason nor the log.
import type { Clock } from '../base/clock.ts'
import { Throttle } from '../base/throttle.ts'

const periodMs = 10_000
/** As many clients have lines of their own; the rest shares one. */
const mostClients = 10

export interface Loss {
  /** null for all those that have no line of their own. */
  readonly clientId: string | null
  readonly messages: number
  /** Since the start, of all clients, for the same reason. */
  readonly messagesInAll: number
}

export class LostMessages {
  readonly #tellLoss: (loss: Loss) => void
  readonly #throttle: Throttle
  #messages = 0
  readonly #untold = new Map<string, number>()
  #untoldOfOthers = 0

  constructor(clock: Clock, tell: (loss: Loss) => void) {
    this.#throttle = new Throttle(clock, periodMs)
    this.#tellLoss = tell
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
    if (this.#throttle.pass() === null) return true
    this.tellAll()
    return false
  }

  /** Whether it is time or not. */
  tellAll(): void {
    const messagesInAll = this.#messages
    for (const [clientId, messages] of this.#untold) this.#tellLoss({ clientId, messages, messagesInAll })
    if (this.#untoldOfOthers > 0) this.#tellLoss({ clientId: null, messages: this.#untoldOfOthers, messagesInAll })
    this.#untold.clear()
    this.#untoldOfOthers = 0
  }
}
