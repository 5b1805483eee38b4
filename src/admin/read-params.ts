// From the query or the body of a request to the parameters of its operation, checked against their shape. Says which
// parameter is wrong, and never quotes a value of unlimited length.
import type { IncomingMessage } from 'node:http'
import * as z from 'zod'
import { closestName } from '../config/closest-name.ts'
import { HttpError } from './problem.ts'

export const bodyLimitBytes = 1024 * 1024

interface PropertySchema {
  type?: string | string[]
  anyOf?: PropertySchema[]
}

/** The parameters of one operation: how the query names them. */
export class ParamsReader {
  readonly #shape: z.ZodObject
  readonly #properties: ReadonlyMap<string, PropertySchema>

  constructor(shape: z.ZodObject) {
    this.#shape = shape
    const { properties = {} } = z.toJSONSchema(shape, { io: 'input', unrepresentable: 'any' }) as {
      properties?: Record<string, PropertySchema>
    }
    this.#properties = new Map(Object.entries(properties))
  }

  /** @throws HttpError */
  fromQuery(query: URLSearchParams): object {
    const values = new Map<string, unknown>()
    for (const name of new Set(query.keys())) {
      const property = this.#property(name)
      const types = typesOf(property)
      const given = query.getAll(name)
      if (types.includes('array')) values.set(name, given)
      else if (given.length > 1) throw badParameter(name, 'is given more than once')
      else values.set(name, fromText(given[0], types))
    }
    return this.#check(Object.fromEntries(values))
  }

  /** @throws HttpError */
  fromBody(body: unknown): object {
    if (typeof body !== 'object' || body === null || Array.isArray(body)) {
      throw new HttpError(400, 'not-an-object', 'the body is no JSON object')
    }
    for (const name of Object.keys(body)) this.#property(name)
    return this.#check(body)
  }

  #property(name: string): PropertySchema {
    const property = this.#properties.get(name)
    if (property !== undefined) return property
    const meant = closestName(name, this.#properties.keys())
    const known = [...this.#properties.keys()].join(', ') || 'none'
    throw new HttpError(400, 'bad-parameters', 'this operation has no such parameter', {
      key: name.slice(0, 100),
      fix: meant === null ? `known: ${known}` : `did you mean ${meant}`,
    })
  }

  #check(values: unknown): object {
    const parsed = this.#shape.safeParse(values)
    if (parsed.success) return parsed.data
    const [issue] = parsed.error.issues
    throw badParameter(issue.path.map(String).join('.').slice(0, 200), issue.message)
  }
}

function badParameter(name: string, message: string): HttpError {
  return new HttpError(400, 'bad-parameters', message, { key: name })
}

function typesOf({ type, anyOf = [] }: PropertySchema): string[] {
  return [...(type === undefined ? [] : [type].flat()), ...anyOf.flatMap(typesOf)]
}

/** What a text in a query means, for a parameter of these types; the shape refuses what does not fit. */
function fromText(text: string, types: readonly string[]): unknown {
  if ((types.includes('number') || types.includes('integer')) && /^-?\d{1,20}(\.\d{1,20})?$/.test(text)) {
    return Number(text)
  }
  if (types.includes('boolean') && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

/** @throws HttpError */
export async function readBody(request: IncomingMessage): Promise<unknown> {
  const bytes = await readBytes(request)
  if (bytes.length === 0) return {}
  const [mediaType] = (request.headers['content-type'] ?? '').split(';')
  if (mediaType.trim().toLowerCase() !== 'application/json') {
    throw new HttpError(415, 'not-json', 'the body is not declared as JSON', {
      fix: 'send the header content-type: application/json',
    })
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new HttpError(400, 'syntax', 'the body is not JSON in UTF-8')
  }
}

/** Not by iteration, which would close the connection before the answer when the body is too large. */
function readBytes(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    request.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length <= bodyLimitBytes) chunks.push(chunk)
      else {
        request.pause()
        reject(new HttpError(413, 'body-too-large', `the body has more than ${bodyLimitBytes} bytes`))
      }
    })
    request.on('end', () => resolve(Buffer.concat(chunks)))
    request.on('error', reject)
    request.on('close', () => reject(new HttpError(400, 'aborted', 'the request ended early')))
  })
}
