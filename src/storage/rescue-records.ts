// Copies every whole record of a damaged file into a new environment: what the newest root reaches, then what is on pages that
// can't be reached any more and are not free, damaged or not. Leaves out what points to something that is lost, or may promise it.
import { setImmediate } from 'node:timers/promises'
import { expectRoom } from './disk-room.ts'
import { openEnvironment } from './lmdb-environment.ts'
import { LmdbFile, type RawRecord, type StrayRecord } from './lmdb-file.ts'
import { messageValueIn, retainedKeyOf, WantedMessages } from './orphan-values.ts'
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
const bytesPerTransaction = 16 * 1024 * 1024
/** Records that are looked at before the loop may do something else. */
const recordsPerTurn = 1000
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

interface Rescue {
  readonly target: Target
  readonly rescuePath: string
}

/**
 * The new environment at `rescuePath` is on disk when the promise resolves, else there may be a half of it.
 * @throws (rejects) OperatorError `no-space`; the error of LMDB, which may mean the same
 */
export async function rescueRecords(path: string, rescuePath: string): Promise<Omit<RecoveryReport, 'setAside'>> {
  const file = new LmdbFile(path)
  const target = openEnvironment(rescuePath, true)
  const rescue = { target, rescuePath }
  const lost = noCounts()
  try {
    await copy(file.records(), rescue, lost)
    await file.checkFreeList()
    await copy(
      newest(() => strays(file)),
      rescue,
      lost,
    )
    await revive(file, rescue)
    const { rescued, copied } = await settle(target, lost)
    const missing = file.entries === null ? null : Math.max(0, file.entries - copied)
    return { rescued, lost, missing, findings: file.findings }
  } finally {
    file.close()
    await target.close()
  }
}

/** One transaction. Why it has failed a promise of its own says, which would end the process if nobody heard it. */
async function commit(target: Target, act: () => void): Promise<void> {
  try {
    await target.batch(act)
  } catch (error) {
    await (error as { commitError?: Promise<unknown> }).commitError
    throw error
  }
}

/** Puts the records that are whole into the target, unless they are there. */
async function copy(
  records: AsyncIterable<RawRecord>,
  { target, rescuePath }: Rescue,
  lost: RecordCounts,
): Promise<void> {
  let waiting: RawRecord[] = []
  let waitingBytes = 0
  const write = async () => {
    await expectRoom(rescuePath, waitingBytes, 'what can be read of the store')
    const chunk = waiting
    waiting = []
    waitingBytes = 0
    target.resetReadTxn()
    await commit(target, () => {
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
    waitingBytes += record.value.length
    if (waiting.length === recordsPerTransaction || waitingBytes > bytesPerTransaction) await write()
  }
  await write()
}

/** The newest of each record. Looks twice instead of keeping them all. */
async function* newest(look: () => AsyncIterable<StrayRecord>): AsyncGenerator<RawRecord> {
  const transactions = new Map<string, number>()
  for await (const { key, transaction } of look()) {
    const name = key.toString('latin1')
    if (transaction > (transactions.get(name) ?? -1)) transactions.set(name, transaction)
  }
  for await (const record of look()) {
    const name = record.key.toString('latin1')
    if (record.transaction !== transactions.get(name)) continue
    transactions.delete(name)
    yield record
  }
}

/** What nothing leads to any more: records, and large retained messages whose records are lost. */
async function* strays(file: LmdbFile): AsyncGenerator<StrayRecord> {
  yield* file.strayRecords(false, isIntact)
  for await (const { bytes, transaction } of file.strayValues(false)) {
    const value = messageValueIn(bytes)
    const key = value === null ? null : retainedKeyOf(value)
    if (value !== null && key !== null) yield { key, value, transaction }
  }
}

/**
 * A Session or message that something still belongs to was there to the end: what is left of it on pages that count as free is
 * better than the loss of all that belongs to it.
 */
async function revive(file: LmdbFile, rescue: Rescue): Promise<void> {
  const { target } = rescue
  let looks = 0
  const wanted = new Map<string, Buffer>()
  const want = (key: Buffer) => {
    if (!target.doesExist(key)) wanted.set(key.toString('latin1'), Buffer.from(key))
  }
  const encoder = new RecordEncoder()
  target.resetReadTxn()
  for (const kind of [recordKind.subscription, recordKind.delivery]) {
    for (const entry of target.getRange({ start: Buffer.of(kind), end: Buffer.of(kind + 1) })) {
      if (++looks % recordsPerTurn === 0) await setImmediate()
      encoder.reset()
      want(encoder.sessionKey(recordKind.session, sessionNumberOf(Buffer.from(entry.key))))
      const messageNumber = kind === recordKind.delivery ? referenceOf(Buffer.from(entry.value)) : null
      if (messageNumber !== null) want(encoder.messageKey(messageNumber))
    }
  }
  if (wanted.size === 0) return
  const messages = new WantedMessages([...wanted.values()].filter(([kind]) => kind === recordKind.message))
  const found = async function* (): AsyncGenerator<StrayRecord> {
    for await (const record of file.strayRecords(true, isIntact)) {
      if (wanted.has(record.key.toString('latin1'))) yield record
    }
    for await (const { bytes, transaction } of file.strayValues(true)) {
      const value = messageValueIn(bytes)
      const key = value === null ? null : messages.keyOf(value)
      if (value !== null && key !== null) yield { key, value, transaction }
    }
  }
  await copy(newest(found), rescue, noCounts())
}

/**
 * Takes out again what belongs to a Session or message that is lost, and counts what is left. Packet Identifiers of QoS 2 messages
 * go as well: nobody knows whether the message that came with one is still there, and a publisher that sends it again would be
 * told that it is. A message that comes twice is the lesser evil.
 */
async function settle(target: Target, lost: RecordCounts): Promise<{ rescued: RecordCounts; copied: number }> {
  const rescued = noCounts()
  const leftOut: Buffer[] = []
  let copied = 0
  let looks = 0
  let nextSessionNumber = 1
  let nextMessageNumber = 1
  let hasMeta = false
  const encoder = new RecordEncoder()
  target.resetReadTxn()
  for (const entry of target.getRange({})) {
    if (++looks % recordsPerTurn === 0) await setImmediate()
    const key = Buffer.from(entry.key)
    const value = Buffer.from(entry.value)
    const kind = key[0]
    encoder.reset()
    const name = countNames.get(kind)
    const isWanted = isAnchored(target, encoder, key, value)
    if (isWanted) copied++
    if (!isWanted || kind === recordKind.inbound) {
      leftOut.push(key)
      if (name !== undefined) lost[name]++
      continue
    }
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
  for (let index = 0; index < leftOut.length; index += recordsPerTransaction) {
    await commit(target, () => {
      for (const key of leftOut.slice(index, index + recordsPerTransaction)) target.remove(key)
    })
  }
  await commit(target, () => void target.put(meta.key, meta.value))
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
