// Reads the file of an LMDB environment page by page, without LMDB and without mapping it: a damaged or shortened file ends a
// process that maps it (SIGBUS), and stops LMDB at the first bad page. Finds what is wrong with a file, and every record that is
// still whole. Layout of LMDB 1.0 (data version 2) as in mdb.c of the npm package. Knows no record.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'

const pageHeaderBytes = 24
const metaMagic = 0xbeefc0de
const metaFlag = 8
/** What is read of the page that tells where the data begins. */
const metaBytes = 512
const magicAt = 24
/** Of LMDB 0.9. */
const olderMagicAt = 16
const knownDataVersion = 2
/** What a page is known to be; 0 is neither. */
const inUse = 1
const isFree = 2
const noPage = 0xffff_ffff_ffff_ffffn
const branchFlag = 1
const leafFlag = 2
const overflowFlag = 4
const bigDataFlag = 1
/** A node that holds a tree of its own: no store has one, and LMDB would follow it. */
const treeFlags = 2 | 4
const deepestTree = 64
const mostFindings = 20
/** Of a file of which the first pages say nothing. */
const pagesToLookAt = 4096
/** What is read, or passed over, before the loop may do something else. */
const bytesPerTurn = 128 * 1024
const pagesPerTurn = 32

/** Of one tree: how many levels, and how many pages of each kind. */
export interface TreeStats {
  readonly depth: number
  readonly branchPages: number
  readonly leafPages: number
  readonly overflowPages: number
}

interface Tree extends TreeStats {
  readonly root: number | null
  readonly entries: number
}

export interface RawRecord {
  readonly key: Buffer
  readonly value: Buffer
}

export interface StrayRecord extends RawRecord {
  readonly transaction: number
}

/**
 * What kind of file it is: `headless` says no more where its data begins, `foreign` holds nothing of LMDB, `version` is of a
 * version of LMDB that is not known here.
 */
export type FileKind = 'environment' | 'headless' | 'foreign' | 'version'

/** One pass over one file; close it afterwards. */
export class LmdbFile {
  readonly kind: FileKind
  /** What is wrong, the first findings, for people. */
  readonly findings: string[] = []
  /** How many records the file should hold; null when it no longer says. */
  readonly entries: number | null
  readonly #descriptor: number
  readonly #sizeBytes: number
  readonly #pageBytes: number
  readonly #lastPage: number
  readonly #main: Tree | null
  readonly #freeTree: Tree | null
  readonly #transaction: number
  readonly #pages: Uint8Array
  #bytesSinceTurn = 0
  #pagesUsed = 0

  constructor(path: string) {
    this.#descriptor = openSync(path, 'r')
    this.#sizeBytes = fstatSync(this.#descriptor).size
    const first = this.#readMeta(0, null)
    // The second page begins where the first ends; if the first is lost, the sizes in use are tried.
    const second = [first?.pageBytes ?? 4096, 16384, 8192, 65536]
      .map((size) => this.#readMeta(size, size))
      .find(Boolean)
    const metas = [first, second ?? null].filter((meta) => meta !== null)
    const meta = metas.sort((a, b) => b.transaction - a.transaction)[0] ?? null
    this.#pageBytes = meta?.pageBytes ?? 4096
    this.#lastPage = meta?.lastPage ?? Math.max(0, Math.floor(this.#sizeBytes / this.#pageBytes) - 1)
    this.#main = meta?.main ?? null
    this.#freeTree = meta?.free ?? null
    this.#transaction = meta?.transaction ?? 0
    this.entries = meta?.main.entries ?? null
    this.#pages = new Uint8Array(Math.max(2, Math.ceil(this.#sizeBytes / this.#pageBytes)))
    if (meta !== null) {
      this.kind = meta.version === knownDataVersion ? 'environment' : 'version'
      // The second meta page of a whole file is never lost alone, and nothing else would notice before LMDB needs it.
      if (metas.length < 2) this.#find('one of the two pages that tell where the data begins is damaged')
    } else {
      this.#find('both pages that tell where the data begins are damaged')
      this.kind = this.#isHeadless() ? 'headless' : 'foreign'
    }
  }

  /** Of the records and of the list of free pages, as of the newest transaction; null when the file no longer says. */
  get trees(): { readonly pageBytes: number; readonly main: TreeStats; readonly free: TreeStats } | null {
    if (this.#main === null || this.#freeTree === null) return null
    return { pageBytes: this.#pageBytes, main: this.#main, free: this.#freeTree }
  }

  /**
   * The records that can be reached from the newest root; what cannot be read is left out and goes into `findings`, and so do
   * signs of a page that is whole but older than those around it, as a power cut may leave it.
   */
  async *records(): AsyncGenerator<RawRecord> {
    let previous: Buffer | null = null
    let count = 0
    let disordered = 0
    if (this.#main?.root != null) {
      for await (const record of this.#walk(this.#main.root, 0, this.#transaction)) {
        count++
        if (previous !== null && previous.compare(record.key) >= 0) disordered++
        previous = record.key
        yield record
      }
    }
    if (disordered > 0) this.#find(`${disordered} records in the wrong order`)
    if (this.entries !== null && this.entries !== count) {
      this.#find(`the file should hold ${this.entries} records, and ${count} were found`)
    }
  }

  /**
   * Looks at the list of free pages, after `records` has been read to its end: LMDB would write over data if it were wrong.
   */
  async checkFreeList(): Promise<void> {
    const free = await this.#freeRanges(Number.POSITIVE_INFINITY)
    for (const [first, count] of free) {
      if (first + count - 1 > this.#lastPage) this.#find(`page ${first} is free and beyond the end`)
      for (let page = first; page < Math.min(first + count, this.#pages.length); page++) {
        if (this.#pages[page] === inUse) this.#find(`page ${page} is free and in use`)
        else this.#pages[page] = isFree
      }
    }
  }

  /**
   * Lengths of the runs of free pages.
   * @param oldestReader the oldest transaction that somebody reads: what it may see is not free; null when nobody reads
   * @param isNow only what the next transaction may write to; else of those that follow
   */
  async freeRuns(oldestReader: number | null, isNow: boolean): Promise<number[]> {
    const own = isNow ? this.#transaction : Number.POSITIVE_INFINITY
    const free = await this.#freeRanges(Math.min(oldestReader ?? own, own))
    free.sort(([one], [other]) => one - other)
    const runs: number[] = []
    let end = 0
    for (const [first, count] of free) {
      if (first === end) runs[runs.length - 1] += count
      else runs.push(count)
      end = first + count
    }
    return runs
  }

  /** What the transactions before `transaction` have left free, in any order. */
  async #freeRanges(transaction: number): Promise<[first: number, count: number][]> {
    const free: [first: number, count: number][] = []
    if (this.#freeTree?.root == null) return free
    for await (const { key, value } of this.#walk(this.#freeTree.root, 0, this.#transaction)) {
      if (key.length === 8 && Number(key.readBigInt64LE(0)) >= transaction) continue
      // The number of entries, then page numbers; a negative entry says how many pages the next one stands for, 0 is a gap.
      const end = value.length < 8 ? 0 : Math.min(value.length, 8 + 8 * Number(value.readBigInt64LE(0)))
      let count = 1
      for (let position = 8; position + 8 <= end; position += 8) {
        const entry = Number(value.readBigInt64LE(position))
        if (entry > 0) free.push([entry, count])
        count = entry < 0 ? -entry : 1
      }
    }
    return free
  }

  /**
   * The records on pages that are neither in use nor free, with the transaction that wrote the page: those that cannot be
   * reached any more. If the list of free pages is lost as well, or with `isFreeIncluded`, older versions of records are among
   * them, and records deleted since. On a page that is damaged every place is tried where a record may begin.
   * @param isWhole tells a record from rubbish
   */
  async *strayRecords(
    isFreeIncluded: boolean,
    isWhole: (key: Buffer, value: Buffer) => boolean,
  ): AsyncGenerator<StrayRecord> {
    for await (const { number, page } of this.#strayPages(isFreeIncluded)) {
      const isItself = Number(page.readBigUInt64LE(0)) === number
      const flags = page.readUInt16LE(18)
      if (isItself && (flags === overflowFlag || flags === branchFlag)) continue
      const nodes = isItself && flags === leafFlag ? nodesOf(page) : null
      const transaction = isItself ? Number(page.readBigUInt64LE(8)) : 0
      for (const node of nodes ?? nodesAnywhere(page)) {
        if (this.#bytesSinceTurn >= bytesPerTurn) await this.#nextTurn()
        const record = this.#leafRecord(page, node, false)
        if (record !== null && isWhole(record.key, record.value)) yield { ...record, transaction }
      }
    }
  }

  /** As `strayRecords`: large values that have pages of their own, without their keys and with what follows them there. */
  async *strayValues(isFreeIncluded: boolean): AsyncGenerator<{ bytes: Buffer; transaction: number }> {
    for await (const { number, page } of this.#strayPages(isFreeIncluded)) {
      if (Number(page.readBigUInt64LE(0)) !== number || page.readUInt16LE(18) !== overflowFlag) continue
      const count = page.readUInt32LE(20)
      const bytes = count < 1 ? null : this.#read(number * this.#pageBytes, count * this.#pageBytes)
      if (bytes !== null) yield { bytes: bytes.subarray(pageHeaderBytes), transaction: Number(page.readBigUInt64LE(8)) }
    }
  }

  async *#strayPages(isFreeIncluded: boolean): AsyncGenerator<{ number: number; page: Buffer }> {
    for (let number = 2; number < this.#pages.length; number++) {
      if (number % pagesPerTurn === 0 || this.#bytesSinceTurn >= bytesPerTurn) await this.#nextTurn()
      if (this.#pages[number] === inUse || (this.#pages[number] === isFree && !isFreeIncluded)) continue
      const page = this.#read(
        number * this.#pageBytes,
        Math.min(this.#pageBytes, this.#sizeBytes - number * this.#pageBytes),
      )
      // Of the last page of a file that was cut there may be a part.
      if (page !== null && page.length > pageHeaderBytes) yield { number, page }
    }
  }

  get pageBytes(): number {
    return this.#pageBytes
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** Pages read by `records`, and all that there are. */
  get progress(): { readonly read: number; readonly total: number } {
    return { read: this.#pagesUsed, total: this.#lastPage + 1 }
  }

  /** After `checkFreeList`: what the pages of the file are. */
  get pages(): { readonly bytes: number; readonly total: number; readonly free: number } {
    let free = 0
    for (const page of this.#pages) if (page === isFree) free++
    return { bytes: this.#pageBytes, total: this.#lastPage + 1, free }
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  /** @param transaction of what leads to the page: it was written anew with it, so the page cannot be newer */
  async *#walk(number: number, depth: number, transaction: number): AsyncGenerator<RawRecord> {
    if (depth > deepestTree) return this.#find(`page ${number} lies too deep`)
    const page = this.#take(number, 1)
    if (page === null) return
    const flags = page.readUInt16LE(18)
    const nodes = flags === branchFlag || flags === leafFlag ? nodesOf(page) : null
    if (nodes === null) {
      this.#pages[number] = 0
      return this.#find(`page ${number} is damaged`)
    }
    const ownTransaction = Number(page.readBigUInt64LE(8))
    if (ownTransaction > transaction) this.#find(`page ${number} is newer than what leads to it`)
    for (const node of nodes) {
      if (this.#bytesSinceTurn >= bytesPerTurn) await this.#nextTurn()
      if (flags === branchFlag) {
        yield* this.#walk(
          page.readUInt32LE(node) + page.readUInt16LE(node + 4) * 0x1_0000_0000,
          depth + 1,
          ownTransaction,
        )
        continue
      }
      const record = this.#leafRecord(page, node, true)
      if (record !== null) yield record
    }
  }

  #leafRecord(page: Buffer, node: number, isTracked: boolean): RawRecord | null {
    const valueLength = page.readUInt32LE(node)
    const keyEnd = node + 8 + page.readUInt16LE(node + 6)
    const flags = page.readUInt16LE(node + 4)
    const isBig = (flags & bigDataFlag) !== 0
    if (isTracked && (flags & treeFlags) !== 0)
      this.#find(`page ${page.readBigUInt64LE(0)} holds a record that is none`)
    if (keyEnd + (isBig ? 24 : valueLength) > page.length) {
      if (isTracked) this.#find(`page ${page.readBigUInt64LE(0)} holds a record that does not fit`)
      return null
    }
    const key = page.subarray(node + 8, keyEnd)
    if (!isBig) return { key, value: page.subarray(keyEnd, keyEnd + valueLength) }
    const first = Number(page.readBigUInt64LE(keyEnd))
    const count = Math.ceil((valueLength + pageHeaderBytes) / this.#pageBytes)
    const pages = isTracked ? this.#take(first, count) : this.#read(first * this.#pageBytes, count * this.#pageBytes)
    if (pages === null) return null
    if (pages.readUInt16LE(18) !== overflowFlag || Number(pages.readBigUInt64LE(0)) !== first) {
      if (isTracked) this.#find(`page ${first} is damaged`)
      return null
    }
    // LMDB copies and frees as many as are told here; a value that became shorter may leave some unused.
    const told = pages.readUInt32LE(20)
    if (isTracked && (told < count || page.readBigUInt64LE(keyEnd + 16) !== BigInt(told))) {
      this.#find(`page ${first} does not say how many follow it`)
    }
    return { key, value: pages.subarray(pageHeaderBytes, pageHeaderBytes + valueLength) }
  }

  /** Pages that nothing else uses; null and a finding if they are not there or taken. */
  #take(number: number, count: number): Buffer | null {
    if (number < 2 || number + count - 1 > this.#lastPage) {
      this.#find(`page ${number} is beyond the end`)
      return null
    }
    const bytes = this.#read(number * this.#pageBytes, count * this.#pageBytes)
    if (bytes === null) {
      this.#find(`page ${number} is cut off`)
      return null
    }
    for (let page = number; page < number + count; page++) {
      if (this.#pages[page] === inUse) {
        this.#find(`page ${page} is used twice`)
        return null
      }
      this.#pages[page] = inUse
      this.#pagesUsed++
    }
    if (Number(bytes.readBigUInt64LE(0)) !== number) {
      this.#pages.fill(0, number, number + count)
      this.#find(`page ${number} is damaged`)
      return null
    }
    return bytes
  }

  async #nextTurn(): Promise<void> {
    this.#bytesSinceTurn = 0
    await setImmediate()
  }

  #read(position: number, length: number): Buffer | null {
    if (position + length > this.#sizeBytes) return null
    this.#bytesSinceTurn += length
    const bytes = Buffer.allocUnsafeSlow(length)
    try {
      return readSync(this.#descriptor, bytes, 0, length, position) === length ? bytes : null
    } catch (error) {
      this.#find(`the file can't be read at ${position}: ${(error as Error).message}`)
      return null
    }
  }

  #readMeta(position: number, pageBytes: number | null) {
    const bytes = this.#read(position, metaBytes)
    if (bytes === null || bytes.readUInt32LE(magicAt) !== metaMagic) return null
    const size = bytes.readUInt32LE(48)
    if (pageBytes !== null && size !== pageBytes) return null
    if (size < 256 || size > 65536) return null
    return {
      version: bytes.readUInt32LE(28),
      pageBytes: size,
      free: treeAt(bytes, 48),
      main: treeAt(bytes, 96),
      lastPage: Number(bytes.readBigUInt64LE(144)),
      transaction: Number(bytes.readBigUInt64LE(152)),
    }
  }

  /** Whether it may be what damage has left of a file of LMDB 1.0. */
  #isHeadless(): boolean {
    const head = this.#read(0, Math.min(this.#sizeBytes, metaBytes)) ?? Buffer.alloc(0)
    if (head.length < metaBytes) return isBeginning(head)
    return head.readUInt32LE(olderMagicAt) !== metaMagic && (this.#hasPages() || this.#isBlank())
  }

  /** Zeros, as far as it is looked: a new file after a power cut, whose size was noted before its bytes. */
  #isBlank(): boolean {
    for (let number = 0; number < Math.min(pagesToLookAt, Math.ceil(this.#sizeBytes / this.#pageBytes)); number++) {
      const position = number * this.#pageBytes
      const page = this.#read(position, Math.min(this.#pageBytes, this.#sizeBytes - position))
      if (page === null || page.some((byte) => byte !== 0)) return false
    }
    return true
  }

  /** Whether any page says its own number, as those of LMDB do. */
  #hasPages(): boolean {
    const pages = Math.min(pagesToLookAt, Math.floor(this.#sizeBytes / this.#pageBytes))
    for (let number = 2; number < pages; number++) {
      const header = this.#read(number * this.#pageBytes, pageHeaderBytes)
      if (header !== null && Number(header.readBigUInt64LE(0)) === number) return true
    }
    return false
  }

  #find(finding: string): void {
    if (this.findings.length < mostFindings) this.findings.push(finding)
  }
}

/** Whether the first page may begin so: its number is 0, then come a transaction, flags and the mark of LMDB. Zeros may be a file that was never written. */
function isBeginning(head: Buffer): boolean {
  if (head.every((byte) => byte === 0)) return true
  if (head.length <= 8 || head.subarray(0, 8).some((byte) => byte !== 0)) return false
  if (head.length >= 20 && head.readUInt16LE(18) !== metaFlag) return false
  return head.length < magicAt + 4 || head.readUInt32LE(magicAt) === metaMagic
}

function treeAt(bytes: Buffer, position: number): Tree {
  const root = bytes.readBigUInt64LE(position + 40)
  const count = (at: number) => Number(bytes.readBigUInt64LE(position + at))
  return {
    depth: bytes.readUInt16LE(position + 6),
    branchPages: count(8),
    leafPages: count(16),
    overflowPages: count(24),
    entries: count(32),
    root: root === noPage ? null : Number(root),
  }
}

/** Where the nodes of a page begin, in the order of their keys; null when the page is damaged. */
function nodesOf(page: Buffer): number[] | null {
  const lower = page.readUInt16LE(20)
  const upper = page.readUInt16LE(22)
  if (lower > upper || upper > page.length - pageHeaderBytes || lower % 2 !== 0) return null
  const nodes: number[] = []
  for (let index = 0; index < lower; index += 2) {
    const node = page.readUInt16LE(pageHeaderBytes + index) + pageHeaderBytes
    if (
      node < upper + pageHeaderBytes ||
      node + 8 > page.length ||
      node + 8 + page.readUInt16LE(node + 6) > page.length
    ) {
      return null
    }
    nodes.push(node)
  }
  return nodes
}

/** Where a node may begin, whatever the page says. */
function nodesAnywhere(page: Buffer): number[] {
  const nodes: number[] = []
  for (let node = pageHeaderBytes; node + 8 < page.length; node += 2) {
    const keyBytes = page.readUInt16LE(node + 6)
    if (page.readUInt16LE(node + 4) > bigDataFlag || keyBytes === 0 || node + 8 + keyBytes > page.length) continue
    nodes.push(node)
  }
  return nodes
}
