// What supervisor and host process say to each other: requests with a number, answers with the same number, and news.
// Control only; the one thing beside it is an accepted connection, whose handle travels with its message.
import { OperatorError, type Place } from '../base/errors.ts'
import type { Peer } from '../base/peer.ts'
import type { FleetMember } from '../config/fleet-config.ts'
import type { Observation } from './member-host.ts'

export type HostRequest =
  /** Whether it is there. */
  | { kind: 'ping' }
  | { kind: 'start'; member: FleetMember; runDir: string }
  | { kind: 'reload'; member: FleetMember }
  | { kind: 'stop'; name: string }
  /** `json` holds the parameters. */
  | { kind: 'call'; name: string; verb: string; json: string }

export type ToHost =
  | (HostRequest & { id: number })
  | { kind: 'connection'; id: number; name: string; listener: string; peer: Peer }
  | { kind: 'reopen-log'; name: string }
  /** A start that is under way is to end soon. */
  | { kind: 'abort'; name: string }

export type FromHost =
  | { kind: 'hello' }
  /** `json` holds the result, '' for none. */
  | { kind: 'answer'; id: number; json: string }
  | { kind: 'failure'; id: number; failure: Failure }
  | { kind: 'observed'; name: string; observation: Observation }
  /** The handle of a connection is in the host's hands: the supervisor closes its own. */
  | { kind: 'adopted'; id: number }
  | { kind: 'released'; id: number }

/** An OperatorError as it travels. */
export interface Failure {
  code: string
  message: string
  place: Place | null
  fix: string | null
}

/** Of the JSON text of parameters or of a result. */
export const messageLimitChars = 16 * 1024 * 1024

/** @throws OperatorError `too-large` */
export function toJson(value: unknown, what: string): string {
  const json = value === undefined ? '' : JSON.stringify(value)
  if (json.length <= messageLimitChars) return json
  throw new OperatorError('too-large', `${what} has ${json.length} characters, and ${messageLimitChars} is the limit`, {
    fix: 'ask for less at a time',
  })
}

export function fromJson(json: string): unknown {
  return json === '' ? undefined : JSON.parse(json)
}

/** A bug becomes a failure as well: it ends the request, and its stack is the message. */
export function failureOf(error: unknown): Failure {
  if (error instanceof OperatorError) {
    const { code, message, place, fix } = error
    return { code, message, place, fix }
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { code: 'internal', message, place: null, fix: null }
}

export function errorOf({ code, message, place, fix }: Failure): OperatorError {
  return new OperatorError(code, message, { place: place ?? undefined, fix: fix ?? undefined })
}
