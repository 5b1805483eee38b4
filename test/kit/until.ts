// Waiting for what comes to be true, up to the deadline of the test kit.
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { DEADLINE_MS } from './raw-client.ts'

/** Asks again and again until the answer is yes. @param what is waited for; a function when it is known only at the end */
export async function until(what: string | (() => string), isSo: () => unknown): Promise<void> {
  for (const endMs = performance.now() + DEADLINE_MS; !(await isSo()); ) {
    if (performance.now() > endMs) assert.fail(`waited in vain: ${typeof what === 'string' ? what : what()}`)
    await delay(10)
  }
}
