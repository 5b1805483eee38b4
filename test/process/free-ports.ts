// Ports for fleets, which have many in a row. Knows nothing of brokers.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** The first of so many ports in a row that nobody has, below those that the system gives to others. */
export async function freePorts(count: number): Promise<number> {
  for (let first = 20_000 + (process.pid % 100) * 100; first + count <= 32_000; first += count) {
    if (await areFree(first, count)) return first
  }
  return assert.fail('no free ports')
}

async function areFree(first: number, count: number): Promise<boolean> {
  for (let port = first; port < first + count; port++) {
    const server = createServer().listen(port, '127.0.0.1')
    try {
      await once(server, 'listening')
    } catch {
      return false
    }
    server.close()
    await once(server, 'close')
  }
  return true
}
