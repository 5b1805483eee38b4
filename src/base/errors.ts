// The four kinds of error. A wire reason (ProtocolError), an operator's mistake (OperatorError), a bad peer (closing the
// connection, nothing thrown) and a bug (assert). Knows no packet and no configuration.

/** What a peer did against the specification; `reasonCode` is the MQTT 5 Reason Code that answers it. */
export class ProtocolError extends Error {
  readonly reasonCode: number

  constructor(reasonCode: number, message: string) {
    super(message)
    this.name = 'ProtocolError'
    this.reasonCode = reasonCode
  }
}

/** Where an operator finds the cause of an error: all parts optional, lines and columns counted from 1. */
export interface Place {
  file?: string
  line?: number
  column?: number
  /** Configuration key, as `listeners.local.mode`. */
  key?: string
}

/** A mistake an operator can mend: what happened, where, and what to do. */
export class OperatorError extends Error {
  readonly code: string
  readonly place: Place | null
  readonly fix: string | null

  /**
   * @param code stable and machine-readable, in kebab-case: `socket-in-use`, `unknown-key`
   * @param message what happened, one sentence without a final full stop
   * @param detail where it happened and what to do
   */
  constructor(code: string, message: string, detail: { place?: Place; fix?: string; cause?: unknown } = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause })
    this.name = 'OperatorError'
    this.code = code
    this.place = detail.place ?? null
    this.fix = detail.fix ?? null
  }
}

/** `file:line:column: key: message (fix)`, leaving out what is not known. */
export function describeOperatorError(error: OperatorError): string {
  const { place, fix } = error
  let where = place?.file ?? ''
  if (place?.line !== undefined) where += `:${place.line}`
  if (place?.line !== undefined && place.column !== undefined) where += `:${place.column}`
  const parts = [where, place?.key ?? '', error.message].filter((part) => part !== '')
  return parts.join(': ') + (fix === null ? '' : ` (${fix})`)
}

/** A condition that only a bug of ours can break; never used on what a peer or an operator sent. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}
