// One level in a tree of topics or filters. Most nodes of such trees have one child, and there may be millions, so a map
// is only made for the second.

/** Shorter pieces are copied by the engine itself. */
const shortestPiece = 13

export abstract class LevelNode<Node extends LevelNode<Node>> {
  readonly parent: Node | null
  readonly level: string
  #only: Node | null = null
  #children: Map<string, Node> | null = null

  constructor(parent: Node | null, level: string) {
    this.parent = parent
    // A piece of a string keeps the whole string alive: many kilobytes, where the rest is long. This makes it one of its own.
    this.level = level.length < shortestPiece ? level : Buffer.from(level).toString()
  }

  /** Whether the node itself holds something; one that does not goes when its last child goes. */
  abstract readonly isEmpty: boolean

  /** All levels from the root to here. */
  get path(): string {
    const levels: string[] = []
    for (let node: LevelNode<Node> = this; node.parent !== null; node = node.parent) levels.push(node.level)
    return levels.reverse().join('/')
  }

  get hasChildren(): boolean {
    return this.#only !== null || this.#children !== null
  }

  child(level: string): Node | null {
    if (this.#children !== null) return this.#children.get(level) ?? null
    return this.#only !== null && this.#only.level === level ? this.#only : null
  }

  /** Adds a child of a level that is not there yet. */
  addChild(child: Node): Node {
    if (this.#children !== null) this.#children.set(child.level, child)
    else if (this.#only === null) this.#only = child
    else {
      this.#children = new Map([
        [this.#only.level, this.#only],
        [child.level, child],
      ])
      this.#only = null
    }
    return child
  }

  /** The children one by one; children may come and go meanwhile. */
  children(): Iterator<Node> {
    if (this.#children !== null) return this.#children.values()
    return (this.#only === null ? [] : [this.#only]).values()
  }

  /** Takes this node out of the tree, and all above it that are of no use without it. The root stays. @returns how many */
  prune(): number {
    let node: LevelNode<Node> = this
    let removed = 0
    while (node.isEmpty && !node.hasChildren && node.parent !== null) {
      node.parent.#remove(node.level)
      node = node.parent
      removed++
    }
    return removed
  }

  #remove(level: string): void {
    if (this.#children === null) this.#only = null
    else {
      this.#children.delete(level)
      if (this.#children.size === 0) this.#children = null
    }
  }
}
