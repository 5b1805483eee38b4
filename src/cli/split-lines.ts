// A stream of bytes as lines. A line too long for an MQTT packet is an error, and never fills the memory first.
import { OperatorError } from '../base/errors.ts'

/** The largest Remaining Length of a packet: 256 MiB less one byte. */
export const largestMessageBytes = 268_435_455

/**
 * Lines without their line feed; the last one needs none.
 * @throws OperatorError `message-too-large`
 */
export async function* splitLines(
  chunks: AsyncIterable<Buffer>,
  limitBytes = largestMessageBytes,
): AsyncGenerator<Buffer> {
  let parts: Buffer[] = []
  let heldBytes = 0
  for await (const chunk of chunks) {
    let start = 0
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, start)) {
      parts.push(chunk.subarray(start, end))
      heldBytes += end - start
      if (heldBytes > limitBytes) throw messageTooLarge('a line', limitBytes)
      yield parts.length === 1 ? parts[0] : Buffer.concat(parts, heldBytes)
      parts = []
      heldBytes = 0
      start = end + 1
    }
    if (start === chunk.length) continue
    parts.push(chunk.subarray(start))
    heldBytes += chunk.length - start
    if (heldBytes > limitBytes) throw messageTooLarge('a line', limitBytes)
  }
  if (heldBytes > 0) yield Buffer.concat(parts, heldBytes)
}

/**
 * Everything at once.
 * @throws OperatorError `message-too-large`
 */
export async function readWhole(chunks: AsyncIterable<Buffer>, limitBytes = largestMessageBytes): Promise<Buffer> {
  const parts: Buffer[] = []
  let heldBytes = 0
  for await (const chunk of chunks) {
    parts.push(chunk)
    heldBytes += chunk.length
    if (heldBytes > limitBytes) throw messageTooLarge('the input', limitBytes)
  }
  return Buffer.concat(parts, heldBytes)
}

function messageTooLarge(what: string, limitBytes: number): OperatorError {
  const limit = limitBytes === largestMessageBytes ? '256 MiB, the size of an MQTT packet,' : `${limitBytes} bytes`
  return new OperatorError('message-too-large', `${what} is longer than a message can be: ${limit} is the limit`, {
    fix: 'publish it in parts',
  })
}
