// A record of the store as plain JSON, for people and programs that look at it. Knows no file and no running broker.
import { ApplicationMessage, parsePublish } from '../codec/application-message.ts'
import {
  decodeDelivery,
  decodeMessage,
  decodeRetained,
  decodeSession,
  decodeSubscription,
  formatVersion,
  isIntact,
  messageNumberOf,
  orderOf,
  packetIdOf,
  type RecordKind,
  recordKind,
  sessionNumberOf,
} from '../storage/record-codec.ts'
import type { MessageRecord } from '../storage/store.ts'

export const storedKinds = ['session', 'subscription', 'inbound', 'message', 'delivery', 'retained'] as const

export type StoredKind = (typeof storedKinds)[number]

export interface StoredRow extends Record<string, unknown> {
  kind: StoredKind
}

/** First byte of the keys of a kind. */
export function keyOfKind(kind: StoredKind): RecordKind {
  return recordKind[kind]
}

export function storedKindOf(key: Buffer): StoredKind | null {
  return storedKinds.find((kind) => recordKind[kind] === key[0]) ?? null
}

/** @returns null for a record that is none of these, that is damaged or of a newer version */
export function storedRow(key: Buffer, value: Buffer): StoredRow | null {
  const kind = storedKindOf(key)
  if (kind === null || !isIntact(key, value) || value[0] > formatVersion) return null
  switch (kind) {
    case 'session': {
      const { will, detachedAtMs, ...session } = decodeSession(key, value)
      const shown =
        will === null
          ? null
          : { delaySeconds: will.delaySeconds, ...messageRow({ packet: will.packet, isVersion5: true }) }
      return { kind, ...session, detachedAt: timeOf(detachedAtMs), will: shown }
    }
    case 'subscription':
      return { kind, sessionNumber: sessionNumberOf(key), ...decodeSubscription(value) }
    case 'inbound':
      return { kind, sessionNumber: sessionNumberOf(key), packetId: packetIdOf(key) }
    case 'message': {
      const message = decodeMessage(value)
      return {
        kind,
        messageNumber: messageNumberOf(key),
        receivedAt: timeOf(message.receivedAtMs),
        ...messageRow(message),
      }
    }
    case 'delivery':
      return { kind, sessionNumber: sessionNumberOf(key), order: orderOf(key), ...decodeDelivery(value) }
    case 'retained': {
      const { topic, message } = decodeRetained(key, value)
      return { kind, receivedAt: timeOf(message.receivedAtMs), ...messageRow(message), topic }
    }
  }
}

function messageRow({ packet, isVersion5 }: Pick<MessageRecord, 'packet' | 'isVersion5'>): Record<string, unknown> {
  let bodyStart = 1
  while (packet[bodyStart] > 0x7f) bodyStart++
  const message = new ApplicationMessage()
  parsePublish(message, packet, 0, bodyStart + 1, packet.length, isVersion5)
  const { topic, qos, retain, payloadLength, payload } = message
  return { topic, qos, retain, payloadBytes: payloadLength, payload: payload.toString('base64') }
}

function timeOf(wallMs: number | null): string | null {
  return wallMs === null ? null : new Date(wallMs).toISOString()
}
