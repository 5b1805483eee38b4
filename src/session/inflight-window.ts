// The QoS 1 and 2 messages on their way to one client, by Packet Identifier. Identifiers are handed out in turn, so a ring
// indexed by their low bits finds them; it grows only when many are open at once.
import type { Qos } from '../codec/packet-types.ts'

/** What an open Packet Identifier waits for. */
export const Awaiting = { nothing: 0, puback: 1, pubrec: 2, pubcomp: 3 } as const
export type Awaiting = (typeof Awaiting)[keyof typeof Awaiting]

const smallestRing = 16
/** What every window that was never used shares. */
const noIds = new Uint16Array(0)
const noneAwaiting = new Uint8Array(0)

export class InflightWindow<Kept> {
  #ids = noIds
  #awaiting = noneAwaiting
  /** Order of opening; for retransmission. */
  #order: Float64Array | null = null
  #kept: (Kept | null)[] | null = null
  #nextId = 1
  count = 0

  /**
   * Takes an unused Packet Identifier. [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]
   * The caller sees to it that fewer than 65535 are open.
   * @param kept what a retransmission needs; null when the message is never sent again
   * @param order of the message among those of the Session
   */
  open(qos: Qos, kept: Kept | null, order: number): number {
    if (this.count * 2 >= this.#ids.length) this.#grow()
    for (;;) {
      const id = this.#nextId
      this.#nextId = id === 0xffff ? 1 : id + 1
      const slot = id & (this.#ids.length - 1)
      if (this.#awaiting[slot] !== Awaiting.nothing) continue
      this.#ids[slot] = id
      this.#awaiting[slot] = qos === 1 ? Awaiting.puback : Awaiting.pubrec
      if (kept !== null) {
        this.#kept ??= new Array<Kept | null>(this.#ids.length).fill(null)
        this.#order ??= new Float64Array(this.#ids.length)
        this.#kept[slot] = kept
        this.#order[slot] = order
      }
      this.count++
      return id
    }
  }

  awaiting(id: number): Awaiting {
    const slot = this.#slot(id)
    return slot === -1 ? Awaiting.nothing : (this.#awaiting[slot] as Awaiting)
  }

  kept(id: number): Kept | null {
    const slot = this.#slot(id)
    return slot === -1 || this.#kept === null ? null : this.#kept[slot]
  }

  /** As it was given to `open` with something kept. */
  order(id: number): number {
    const slot = this.#slot(id)
    return slot === -1 || this.#order === null ? 0 : this.#order[slot]
  }

  /** Opens an identifier again that was open before a restart. */
  restore(id: number, awaiting: Awaiting, kept: Kept | null, order: number): void {
    while (this.#ids.length === 0 || this.#awaiting[id & (this.#ids.length - 1)] !== Awaiting.nothing) this.#grow()
    const slot = id & (this.#ids.length - 1)
    this.#ids[slot] = id
    this.#awaiting[slot] = awaiting
    this.#kept ??= new Array<Kept | null>(this.#ids.length).fill(null)
    this.#order ??= new Float64Array(this.#ids.length)
    this.#kept[slot] = kept
    this.#order[slot] = order
    this.count++
    this.#nextId = id === 0xffff ? 1 : id + 1
  }

  /** PUBREC has come: from now on only PUBREL is sent again, and the message itself is not needed. [MQTT-4.3.3-6] */
  released(id: number): void {
    const slot = this.#slot(id)
    this.#awaiting[slot] = Awaiting.pubcomp
    if (this.#kept !== null) this.#kept[slot] = null
  }

  close(id: number): void {
    const slot = this.#slot(id)
    if (slot === -1) return
    this.#awaiting[slot] = Awaiting.nothing
    if (this.#kept !== null) this.#kept[slot] = null
    this.count--
  }

  /** Gives the memory of a window back that was wide once. */
  shrink(): void {
    if (this.count > 0) return
    this.#ids = noIds
    this.#awaiting = noneAwaiting
    this.#order = null
    this.#kept = null
  }

  /** Open Packet Identifiers in the order in which their messages were first sent. */
  inOrder(): number[] {
    const slots: number[] = []
    for (let slot = 0; slot < this.#ids.length; slot++) if (this.#awaiting[slot] !== Awaiting.nothing) slots.push(slot)
    const order = this.#order
    if (order !== null) slots.sort((a, b) => order[a] - order[b])
    return slots.map((slot) => this.#ids[slot])
  }

  #slot(id: number): number {
    const length = this.#ids.length
    if (length === 0) return -1
    const slot = id & (length - 1)
    return this.#ids[slot] === id && this.#awaiting[slot] !== Awaiting.nothing ? slot : -1
  }

  /** Identifiers that fell into different slots still do in twice as many. */
  #grow(): void {
    const old = { ids: this.#ids, awaiting: this.#awaiting, order: this.#order, kept: this.#kept }
    const capacity = Math.max(smallestRing, old.ids.length * 2)
    if (capacity > 0x1_0000) return
    this.#ids = new Uint16Array(capacity)
    this.#awaiting = new Uint8Array(capacity)
    this.#order = old.order === null ? null : new Float64Array(capacity)
    this.#kept = old.kept === null ? null : new Array<Kept | null>(capacity).fill(null)
    for (let from = 0; from < old.ids.length; from++) {
      if (old.awaiting[from] === Awaiting.nothing) continue
      const to = old.ids[from] & (capacity - 1)
      this.#ids[to] = old.ids[from]
      this.#awaiting[to] = old.awaiting[from]
      if (this.#order !== null) this.#order[to] = old.order![from]
      if (this.#kept !== null) this.#kept[to] = old.kept![from]
    }
  }
}
