// A condition that others wait for: open or closed, again and again. Knows nothing of what it stands for.

export class Gate {
  #isOpen = false
  #waiting: (() => void)[] = []

  get isOpen(): boolean {
    return this.#isOpen
  }

  open(): void {
    this.#isOpen = true
    for (const go of this.#waiting.splice(0)) go()
  }

  close(): void {
    this.#isOpen = false
  }

  async passed(): Promise<void> {
    while (!this.#isOpen) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }
}
