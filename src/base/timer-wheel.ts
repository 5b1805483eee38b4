// Many coarse timers for the price of one: keep alive, Will delays, session expiry. A timer never fires early, and at most
// two ticks late. The clock sleeps until the next slot with a timer in it: a broker whose clients are silent is not woken.
import type { Clock } from './clock.ts'

const slotCount = 512

/** One timer of an owner; the callback is shared by all owners of a kind. */
export class Timer<Owner = unknown> {
  readonly owner: Owner
  readonly callback: (owner: Owner) => void
  deadlineTick = 0
  slot = -1
  previous: AnyTimer | null = null
  next: AnyTimer | null = null

  constructor(owner: Owner, callback: (owner: Owner) => void) {
    this.owner = owner
    this.callback = callback
  }

  get isSet(): boolean {
    return this.slot !== -1
  }
}

// A wheel holds timers of many kinds of owner, and only ever hands each its own.
// biome-ignore lint/suspicious/noExplicitAny: the owner's type is known to its timer alone
type AnyTimer = Timer<any>

export class TimerWheel {
  readonly #clock: Clock
  readonly #tickMs: number
  readonly #slots: (AnyTimer | null)[] = new Array(slotCount).fill(null)
  #tick = 0
  #count = 0
  #stopClock: (() => void) | null = null
  /** Tick for which the clock is set; 0 while the timers of a tick fire, because it is set afterwards. */
  #wakeTick = Number.POSITIVE_INFINITY
  #isStopped = false

  constructor(clock: Clock, tickMs = 100) {
    this.#clock = clock
    this.#tickMs = tickMs
  }

  /** Sets, or sets anew, a timer to fire `delayMs` from now. */
  set(timer: AnyTimer, delayMs: number): void {
    this.clear(timer)
    if (this.#isStopped) return
    // The current tick has already begun, so one more makes sure that nothing fires early.
    const nowMs = this.#clock.monotonicMs()
    if (this.#count++ === 0 && this.#wakeTick !== 0) this.#tick = Math.floor(nowMs / this.#tickMs)
    timer.deadlineTick = Math.max(Math.ceil((nowMs + delayMs) / this.#tickMs), this.#tick + 1)
    this.#link(timer, timer.deadlineTick % slotCount)
    if (timer.deadlineTick < this.#wakeTick) this.#wakeAt(timer.deadlineTick)
  }

  clear(timer: AnyTimer): void {
    if (timer.slot === -1) return
    this.#unlink(timer)
    this.#count--
  }

  #wakeAt(tick: number): void {
    this.#stopClock?.()
    this.#wakeTick = tick
    const leftMs = Math.ceil(tick * this.#tickMs - this.#clock.monotonicMs())
    this.#stopClock = this.#clock.every(Math.max(1, leftMs), () => this.#advance())
  }

  #advance(): void {
    const nowTick = Math.floor(this.#clock.monotonicMs() / this.#tickMs)
    // After a long sleep of the machine one round over all slots finds everything that is due.
    if (nowTick - this.#tick > slotCount) this.#tick = nowTick - slotCount
    this.#wakeTick = 0
    try {
      while (this.#tick < nowTick) {
        this.#tick++
        this.#fire(this.#tick % slotCount, nowTick)
      }
    } finally {
      if (this.#count === 0 || this.#isStopped) this.#rest()
      else this.#wakeAt(this.#nextTick())
    }
  }

  /** The next one whose slot has a timer in it, perhaps of a later round. */
  #nextTick(): number {
    let tick = this.#tick + 1
    while (this.#slots[tick % slotCount] === null) tick++
    return tick
  }

  #fire(slot: number, nowTick: number): void {
    const due: AnyTimer[] = []
    for (let timer = this.#slots[slot]; timer !== null; timer = timer.next) {
      if (timer.deadlineTick <= nowTick) due.push(timer)
    }
    for (const timer of due) {
      // A callback before may have cleared or moved this one.
      if (timer.slot !== slot || timer.deadlineTick > nowTick) continue
      this.clear(timer)
      timer.callback(timer.owner)
    }
  }

  /** For good: no timer fires any more. */
  stop(): void {
    this.#isStopped = true
    this.#rest()
  }

  #rest(): void {
    this.#stopClock?.()
    this.#stopClock = null
    this.#wakeTick = Number.POSITIVE_INFINITY
  }

  #link(timer: AnyTimer, slot: number): void {
    const first = this.#slots[slot]
    timer.slot = slot
    timer.previous = null
    timer.next = first
    if (first !== null) first.previous = timer
    this.#slots[slot] = timer
  }

  #unlink(timer: AnyTimer): void {
    if (timer.previous === null) this.#slots[timer.slot] = timer.next
    else timer.previous.next = timer.next
    if (timer.next !== null) timer.next.previous = timer.previous
    timer.previous = null
    timer.next = null
    timer.slot = -1
  }
}
