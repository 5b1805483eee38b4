// A queue over a ring that grows and shrinks. Its limit is its owner's business.

const smallestRing = 8

export class Deque<T> {
  #ring: (T | undefined)[] = []
  #head = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  push(item: T): void {
    if (this.#length === this.#ring.length) this.#resize(Math.max(smallestRing, this.#ring.length * 2))
    this.#ring[(this.#head + this.#length) & (this.#ring.length - 1)] = item
    this.#length++
  }

  peek(): T | undefined {
    return this.#length === 0 ? undefined : this.#ring[this.#head]
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined
    const item = this.#ring[this.#head]
    this.#ring[this.#head] = undefined
    this.#head = (this.#head + 1) & (this.#ring.length - 1)
    this.#length--
    if (this.#length === 0) {
      this.#ring = []
      this.#head = 0
    } else if (this.#ring.length > smallestRing && this.#length * 4 <= this.#ring.length) {
      this.#resize(this.#ring.length / 2)
    }
    return item
  }

  *[Symbol.iterator](): Generator<T, void, void> {
    for (let index = 0; index < this.#length; index++) {
      yield this.#ring[(this.#head + index) & (this.#ring.length - 1)] as T
    }
  }

  #resize(capacity: number): void {
    const ring: (T | undefined)[] = new Array(capacity)
    for (let index = 0; index < this.#length; index++) {
      ring[index] = this.#ring[(this.#head + index) & (this.#ring.length - 1)]
    }
    for (let index = this.#length; index < capacity; index++) ring[index] = undefined
    this.#ring = ring
    this.#head = 0
  }
}
