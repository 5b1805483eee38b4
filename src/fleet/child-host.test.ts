// How long the start of an instance in another process may take, with time that stands still until it is moved.
import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { OperatorError } from '../base/errors.ts'
import type { FleetMember } from '../config/fleet-config.ts'
import { ChildHost } from './child-host.ts'
import type { HostProcess } from './host-process.ts'
import type { HostRequest } from './host-protocol.ts'

const member = { config: { gracePeriodSeconds: 1 } } as FleetMember
const anHourMs = 3_600_000

/** A process that answers whether it is there as long as it does, and a start when it is told to. */
class FakeProcess {
  isAnswering = true
  isKilled = false
  pings = 0
  startLimitMs: number | null = null
  started = () => {}

  attach(): void {}
  detach(): void {}

  kill(): void {
    this.isKilled = true
  }

  request({ kind }: HostRequest, timeLimitMs: number): Promise<unknown> {
    if (kind === 'start') {
      this.startLimitMs = timeLimitMs
      return new Promise<void>((resolve) => {
        this.started = resolve
      })
    }
    this.pings++
    if (this.isAnswering) return Promise.resolve()
    return new Promise((_resolve, reject) => {
      setTimeout(() => reject(new OperatorError('no-answer', 'nothing came')), timeLimitMs)
    })
  }
}

function start(process: FakeProcess): { outcome: Promise<unknown>; isOver: () => boolean } {
  const host = process as unknown as HostProcess
  const acquire = async () => ({ host, release: async () => {} })
  const child = new ChildHost({ name: 'a', runDir: '/run', acquire, isAlone: true, onEnd: () => {} })
  let isOver = false
  const outcome = child
    .start(member)
    .catch((error: OperatorError) => error.code)
    .finally(() => {
      isOver = true
    })
  return { outcome, isOver: () => isOver }
}

async function pass(ms: number): Promise<void> {
  for (let passedMs = 0; passedMs < ms; passedMs += 1000) {
    await new Promise((resolve) => setImmediate(resolve))
    mock.timers.tick(1000)
  }
  await new Promise((resolve) => setImmediate(resolve))
}

test('a start takes as long as it takes while its process answers, and nobody asks it afterwards', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const process = new FakeProcess()
    const { outcome, isOver } = start(process)
    await pass(anHourMs)
    assert.deepEqual([isOver(), process.isKilled, process.startLimitMs], [false, false, Number.POSITIVE_INFINITY])
    process.started()
    assert.equal(await outcome, undefined)
    const { pings } = process
    assert.ok(pings > 0)
    await pass(60_000)
    assert.equal(process.pings, pings)
  } finally {
    mock.timers.reset()
  }
})

test('a process that falls silent over a start is killed', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const process = new FakeProcess()
    const { outcome } = start(process)
    await pass(anHourMs)
    process.isAnswering = false
    await pass(60_000)
    assert.equal(await outcome, 'no-answer')
    assert.equal(process.isKilled, true)
  } finally {
    mock.timers.reset()
  }
})
