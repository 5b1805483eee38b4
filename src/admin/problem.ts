// Failures as RFC 9457 problems. What is a bug stays in the log: nobody outside is shown a stack.
import { OperatorError } from '../base/errors.ts'

export interface Problem {
  /** `urn:atollmq:problem:CODE` */
  type: string
  title: string
  status: number
  detail: string
  /** As in OperatorError, stable. */
  code: string
  /** Configuration key or parameter that it is about. */
  key: string | null
  fix: string | null
  /** All findings of a configuration, as far as there are several or they have a place. */
  findings?: Finding[]
}

export interface Finding {
  code: string
  message: string
  fix: string | null
  file?: string
  line?: number
  column?: number
  key?: string
}

/** A failure of HTTP itself, with the status that answers it. */
export class HttpError extends Error {
  readonly status: number
  readonly code: string
  readonly fix: string | null
  readonly key: string | null

  constructor(status: number, code: string, message: string, detail: { fix?: string; key?: string } = {}) {
    super(message)
    this.name = 'HttpError'
    this.status = status
    this.code = code
    this.fix = detail.fix ?? null
    this.key = detail.key ?? null
  }
}

const statusOfCode: ReadonlyMap<string, number> = new Map([
  ['bad-parameters', 400],
  ['unknown-cursor', 400],
  ['unknown-instance', 404],
  ['instance-exists', 409],
  ['listener-exists', 409],
  ['not-running', 409],
  ['stopped-meanwhile', 409],
  ['not-saved', 409],
  ['port-in-use', 409],
  ['socket-in-use', 409],
  ['path-occupied', 409],
  ['address-conflict', 409],
  ['rejected', 409],
  ['busy', 409],
  ['not-confirmed', 409],
])

const titles: Readonly<Record<number, string>> = {
  400: 'The request is malformed',
  404: 'There is no such thing',
  405: 'The method is not that of this address',
  408: 'The request took too long',
  409: 'The state of the fleet does not allow it',
  413: 'The request is too large',
  415: 'The body is not JSON',
  422: 'The request cannot be carried out',
  500: 'A bug',
  503: 'Too much at one time',
}

export function problemOf(error: unknown): Problem {
  if (error instanceof HttpError) {
    return problem(error.status, error.code, error.message, error.key, error.fix)
  }
  if (error instanceof OperatorError) {
    const { code, message, fix, place } = error
    const findings = 'findings' in error && Array.isArray(error.findings) ? (error.findings as OperatorError[]) : null
    const [first] = findings ?? []
    const status = statusOfCode.get(code) ?? (code.startsWith('no-such-') ? 404 : 422)
    const shown = problem(status, code, message, place?.key ?? first?.place?.key ?? null, fix ?? first?.fix ?? null)
    if (findings !== null) return { ...shown, findings: findings.map(findingOf) }
    return place?.file === undefined ? shown : { ...shown, findings: [findingOf(error)] }
  }
  return problem(500, 'internal', 'the request ran into a bug; the log of the daemon has more', null, null)
}

function problem(status: number, code: string, detail: string, key: string | null, fix: string | null): Problem {
  return { type: `urn:atollmq:problem:${code}`, title: titles[status] ?? 'Failed', status, detail, code, key, fix }
}

function findingOf({ code, message, fix, place }: OperatorError): Finding {
  return { code, message, fix, ...place }
}
