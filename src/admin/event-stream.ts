// Server-sent events: what happens in the fleet, to any number of readers up to a limit. A reader that does not keep up is cut
// off rather than remembered without end; it connects again and reads the state, which is never lost.
import type { ServerResponse } from 'node:http'
import type { Clock } from '../base/clock.ts'
import type { Fleet } from '../fleet/fleet.ts'
import { HttpError } from './problem.ts'
import { safeJson } from './safe-json.ts'

export const eventReaderLimit = 16
export const heartbeatSeconds = 15
/** Of what waits for one reader. */
const waitingLimitBytes = 256 * 1024

export class EventStream {
  readonly #readers = new Set<ServerResponse>()
  readonly #ends: (() => void)[]
  #id = 0

  constructor(fleet: Fleet, clock: Clock) {
    this.#ends = [
      fleet.subscribe((event) => {
        this.#id++
        if (this.#readers.size > 0) this.#send(`id: ${this.#id}\nevent: ${event.kind}\ndata: ${safeJson(event)}\n\n`)
      }),
      clock.every(heartbeatSeconds * 1000, () => this.#send(': still here\n\n')),
    ]
  }

  /** Takes over the response. @throws HttpError when there are too many readers */
  add(response: ServerResponse): void {
    if (this.#readers.size >= eventReaderLimit) {
      throw new HttpError(503, 'too-many-readers', `${eventReaderLimit} readers of events are the limit`, {
        fix: 'close one of them',
      })
    }
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    response.write(': events of the fleet\n\n')
    this.#readers.add(response)
    response.on('close', () => this.#readers.delete(response))
  }

  close(): void {
    for (const end of this.#ends) end()
    for (const reader of this.#readers) reader.end()
  }

  #send(text: string): void {
    for (const reader of this.#readers) {
      if (reader.writableLength > waitingLimitBytes) reader.destroy()
      else reader.write(text)
    }
  }
}
