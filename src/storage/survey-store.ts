// Reads a whole store file and says what is in it and what is wrong with it, without changing or mapping it. Bounded memory: a
// few bytes for each session and message.
import { LmdbFile } from './lmdb-file.ts'
import { refuseForeign, refuseWithoutTrace } from './lmdb-store.ts'
import {
  formatVersion,
  isIntact,
  mayBeRecord,
  messageNumberOf,
  recordKind,
  referenceOf,
  sessionNumberOf,
} from './record-codec.ts'
import { countNames, noCounts } from './rescue-records.ts'
import type { RecordCounts } from './store.ts'

export interface StoreSurvey {
  readonly counts: RecordCounts
  readonly fileBytes: number
  readonly pageBytes: number
  readonly pages: number
  readonly freePages: number
  /** What is wrong, the first findings, for people; empty for a file that is whole. */
  readonly findings: readonly string[]
}

export interface SurveyOptions {
  readonly signal?: AbortSignal
  /** Called now and then, with a share of 1. */
  readonly onProgress?: (share: number) => void
}

const recordsPerReport = 4096

/** @throws OperatorError `store-format` for a file of something else; the reason of the signal */
export async function surveyStore(path: string, { signal, onProgress }: SurveyOptions = {}): Promise<StoreSurvey> {
  const file = new LmdbFile(path)
  try {
    refuseForeign(file, path)
    const references = new References()
    const counts = noCounts()
    let records = 0
    let damaged = 0
    let strange = 0
    let newer = 0
    for await (const { key, value } of file.records()) {
      signal?.throwIfAborted()
      if (++records % recordsPerReport === 0) {
        onProgress?.(file.progress.read / file.progress.total)
      }
      if (!isIntact(key, value)) {
        damaged++
        if (!mayBeRecord(key)) strange++
        continue
      }
      if (value[0] > formatVersion) {
        newer++
        continue
      }
      const name = countNames.get(key[0])
      if (name !== undefined) counts[name]++
      references.note(key, value)
    }
    await file.checkFreeList()
    await refuseWithoutTrace(file, path, records - damaged, strange)
    const findings = [...file.findings]
    const find = (count: number, what: string) => void (count > 0 && findings.push(`${count} ${what}`))
    find(damaged, 'records whose checksum is wrong')
    find(newer, 'records of a newer version of AtollMQ')
    find(references.homeless(), 'records that belong to no session')
    find(references.dangling(), 'deliveries whose message is not there')
    const { bytes, total, free } = file.pages
    return { counts, fileBytes: file.sizeBytes, pageBytes: bytes, pages: total, freePages: free, findings }
  } finally {
    file.close()
  }
}

/** What points to what. Records come in the order of their kinds: sessions, what is theirs, messages, deliveries, leftovers. */
class References {
  readonly #sessions = new Set<number>()
  /** Number of a session that is not there -> its records. */
  readonly #homeless = new Map<number, number>()
  /** Number of a session -> its deliveries whose message is not there. */
  readonly #dangling = new Map<number, number>()
  #messages = new Float64Array(1024)
  #messageCount = 0

  note(key: Buffer, value: Buffer): void {
    switch (key[0]) {
      case recordKind.session:
        this.#sessions.add(sessionNumberOf(key))
        break
      case recordKind.message:
        this.#addMessage(messageNumberOf(key))
        break
      case recordKind.subscription:
      case recordKind.inbound:
      case recordKind.delivery: {
        const session = sessionNumberOf(key)
        if (!this.#sessions.has(session)) this.#homeless.set(session, (this.#homeless.get(session) ?? 0) + 1)
        const message = key[0] === recordKind.delivery ? referenceOf(value) : null
        if (message !== null && !this.#hasMessage(message)) {
          this.#dangling.set(session, (this.#dangling.get(session) ?? 0) + 1)
        }
        break
      }
      case recordKind.leftover:
        // Of a deleted session; they are removed by and by.
        this.#homeless.delete(sessionNumberOf(key))
        this.#dangling.delete(sessionNumberOf(key))
    }
  }

  homeless(): number {
    return sum(this.#homeless)
  }

  dangling(): number {
    return sum(this.#dangling)
  }

  #addMessage(number: number): void {
    if (this.#messageCount === this.#messages.length) {
      const larger = new Float64Array(this.#messages.length * 2)
      larger.set(this.#messages)
      this.#messages = larger
    }
    this.#messages[this.#messageCount++] = number
  }

  #hasMessage(number: number): boolean {
    let low = 0
    let high = this.#messageCount
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#messages[middle] < number) low = middle + 1
      else high = middle
    }
    return low < this.#messageCount && this.#messages[low] === number
  }
}

function sum(counts: ReadonlyMap<number, number>): number {
  let total = 0
  for (const count of counts.values()) total += count
  return total
}
