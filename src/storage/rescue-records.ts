// Copies every whole record of a damaged file into a new environment: what the newest root reaches, then what is on pages that
// can't be reached any more and are not free. Leaves out what points to something that is lost.
import { openEnvironment } from './lmdb-engine.ts'
import { LmdbFile, type RawRecord } from './lmdb-file.ts'
import {
  decodeMeta,
  formatVersion,
  isIntact,
  messageNumberOf,
  RecordEncoder,
  recordKind,
  referenceOf,
  sessionNumberOf,
} from './record-codec.ts'
import type { RecordCounts, RecoveryReport } from './store.ts'

const recordsPerTransaction = 1000
export const countNames = new Map<number, keyof RecordCounts>([
  [recordKind.session, 'sessions'],
  [recordKind.subscription, 'subscriptions'],
  [recordKind.inbound, 'inbound'],
  [recordKind.message, 'messages'],
  [recordKind.delivery, 'deliveries'],
  [recordKind.retained, 'retained'],
])
/** Numbers between those that are left and those given out anew, when the record that reserves them is lost. */
const gapOfNumbers = 1_000_000

type Target = ReturnType<typeof openEnvironment>

/** The new environment at `rescuePath` is on disk when the promise resolves. */
export async function rescueRecords(path: string, rescuePath: string): Promise<Omit<RecoveryReport, 'setAside'>> {
  const file = new LmdbFile(path)
  const target = openEnvironment(rescuePath, true)
  const lost = noCounts()
  try {
    await copy(file.records(), target, lost)
    await file.checkFreeList()
    await copy(newest(file.strayRecords(false)), target, lost)
    await reviveSessions(file, target)
    const { rescued, copied } = await settle(target, lost)
    const missing = file.entries === null ? null : Math.max(0, file.entries - copied)
    return { rescued, lost, missing, findings: file.findings }
  } finally {
    file.close()
    await target.close()
  }
}

/** Puts the records that are whole into the target, unless they are there. */
async function copy(records: AsyncIterable<RawRecord>, target: Target, lost: RecordCounts): Promise<void> {
  let waiting: RawRecord[] = []
  const write = async () => {
    const chunk = waiting
    waiting = []
    target.resetReadTxn()
    await target.batch(() => {
      for (const { key, value } of chunk) if (!target.doesExist(key)) target.put(key, value)
    })
  }
  for await (const record of records) {
    if (!isIntact(record.key, record.value)) {
      const name = countNames.get(record.key[0])
      if (name !== undefined) lost[name]++
      continue
    }
    waiting.push(record)
    if (waiting.length === recordsPerTransaction) await write()
  }
  await write()
}

/** The newest of each record that is whole. */
async function* newest(strays: AsyncIterable<RawRecord & { readonly transaction: number }>): AsyncGenerator<RawRecord> {
  const found = new Map<string, RawRecord & { readonly transaction: number }>()
  for await (const record of strays) {
    if (!isIntact(record.key, record.value)) continue
    const name = record.key.toString('latin1')
    const other = found.get(name)
    // Views of a page would keep the whole of it.
    const own = { ...record, key: Buffer.from(record.key), value: Buffer.from(record.value) }
    if (other === undefined || record.transaction > other.transaction) found.set(name, own)
  }
  yield* found.values()
}

/**
 * A Session that something still belongs to was there to the end: an older record of it is better than the loss of its messages.
 */
async function reviveSessions(file: LmdbFile, target: Target): Promise<void> {
  const missing = new Set<number>()
  const encoder = new RecordEncoder()
  target.resetReadTxn()
  for (const kind of [recordKind.subscription, recordKind.inbound, recordKind.delivery]) {
    for (const key of target.getKeys({ start: Buffer.of(kind), end: Buffer.of(kind + 1) })) {
      encoder.reset()
      const sessionNumber = sessionNumberOf(Buffer.from(key))
      if (!target.doesExist(encoder.sessionKey(recordKind.session, sessionNumber))) missing.add(sessionNumber)
    }
  }
  if (missing.size === 0) return
  const wanted = async function* () {
    for await (const record of file.strayRecords(true)) {
      if (record.key[0] === recordKind.session && missing.has(sessionNumberOf(record.key))) yield record
    }
  }
  await copy(newest(wanted()), target, noCounts())
}

/** Takes out again what belongs to a Session or message that is lost, and counts what is left. */
async function settle(target: Target, lost: RecordCounts): Promise<{ rescued: RecordCounts; copied: number }> {
  const rescued = noCounts()
  const unanchored: Buffer[] = []
  let copied = 0
  let nextSessionNumber = 1
  let nextMessageNumber = 1
  let hasMeta = false
  const encoder = new RecordEncoder()
  target.resetReadTxn()
  for (const entry of target.getRange({})) {
    const key = Buffer.from(entry.key)
    const value = Buffer.from(entry.value)
    const kind = key[0]
    encoder.reset()
    const name = countNames.get(kind)
    if (!isAnchored(target, encoder, key, value)) {
      unanchored.push(key)
      if (name !== undefined) lost[name]++
      continue
    }
    copied++
    if (name !== undefined) rescued[name]++
    if (kind === recordKind.meta) {
      hasMeta = true
      nextSessionNumber = Math.max(nextSessionNumber, decodeMeta(value).nextSessionNumber)
      nextMessageNumber = Math.max(nextMessageNumber, decodeMeta(value).nextMessageNumber)
    }
    if (kind === recordKind.session) nextSessionNumber = Math.max(nextSessionNumber, sessionNumberOf(key) + 1)
    if (kind === recordKind.message) nextMessageNumber = Math.max(nextMessageNumber, messageNumberOf(key) + 1)
  }
  const gap = hasMeta ? 0 : gapOfNumbers
  encoder.reset()
  const meta = encoder.meta(formatVersion, nextSessionNumber + gap, nextMessageNumber + gap)
  await target.batch(() => {
    for (const key of unanchored) target.remove(key)
    target.put(meta.key, meta.value)
  })
  return { rescued, copied }
}

/** Whether the Session or message that a record belongs to is there. */
function isAnchored(target: Target, encoder: RecordEncoder, key: Buffer, value: Buffer): boolean {
  const hasSession = () => target.doesExist(encoder.sessionKey(recordKind.session, sessionNumberOf(key)))
  switch (key[0]) {
    case recordKind.subscription:
    case recordKind.inbound:
      return hasSession()
    case recordKind.delivery: {
      const messageNumber = referenceOf(value)
      return hasSession() && (messageNumber === null || target.doesExist(encoder.messageKey(messageNumber)))
    }
    default:
      return true
  }
}

export function noCounts(): RecordCounts {
  return { sessions: 0, subscriptions: 0, inbound: 0, messages: 0, deliveries: 0, retained: 0 }
}
