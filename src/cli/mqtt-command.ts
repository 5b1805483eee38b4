// The frame of a command that is an MQTT client: its errors and exit codes, its signals, and what `-d` prints.
import { OperatorError } from '../base/errors.ts'
import { ClientClosedError } from '../client/client-closed.ts'
import { ConnectRefusedError } from '../client/connect-refused.ts'
import type { Packet } from '../codec/packets.ts'
import { escapeText } from '../observe/log.ts'
import { exitCodes } from './exit-codes.ts'
import { encodeSafeJson } from './message-json.ts'
import { describeLine } from './report-error.ts'
import { UsageError } from './usage-error.ts'

/** As Mosquitto's clients have it: `-W` is over. */
export const timedOutExitCode = 27

/**
 * Runs the command and sets the exit code: its own, that of CONNACK when the server refuses, 64 for a wrong command line, or 1.
 * @param body gets a signal that is aborted by SIGINT and SIGTERM; the second one ends the process at once
 */
export async function runMqttCommand(
  isQuiet: boolean,
  body: (interrupted: AbortSignal) => Promise<number>,
): Promise<void> {
  const interruption = new AbortController()
  const interrupt = () => interruption.abort()
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt)
  try {
    process.exitCode = await body(interruption.signal)
  } catch (error) {
    if (!(error instanceof OperatorError) && !(error instanceof ClientClosedError)) throw error
    if (!isQuiet) printError(error)
    process.exitCode = exitCodeOf(error)
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
  }
}

function exitCodeOf(error: Error): number {
  if (error instanceof ConnectRefusedError) return error.connackCode
  return error instanceof UsageError ? exitCodes.usage : exitCodes.failure
}

export function printError(error: OperatorError | ClientClosedError): void {
  if (error instanceof OperatorError) process.stderr.write(`${describeLine(error)}\n`)
  else printNote(error.message)
}

/** @param text may quote a peer */
export function printNote(text: string): void {
  process.stderr.write(`atoll: ${escapeText(text)}\n`)
}

/** One line for a packet: `sent PUBLISH {"topic":"a","payload":"5 bytes",…}`; no password is shown. */
export function printPacket(direction: 'sent' | 'received', packet: Packet): void {
  const { type, ...fields } = packet
  process.stderr.write(`${direction} ${type.toUpperCase()} ${encodeSafeJson(fields, shortenBinary)}\n`)
}

/** Asks the owner of the value, as a Buffer has made itself an object by now. */
function shortenBinary(this: unknown, key: string, value: unknown): unknown {
  const original = (this as Record<string, unknown>)[key]
  return Buffer.isBuffer(original) ? (key === 'password' ? '***' : `${original.length} bytes`) : value
}
