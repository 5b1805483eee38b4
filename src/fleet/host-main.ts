// The entry of a host process: runs the instances that the supervisor tells it to, all in one event loop, and ends by
// itself when the supervisor is gone, so that nothing is left holding a port. Knows no configuration file.
import { createSystemClock } from '../base/clock.ts'
import { Loop } from '../transport/loop.ts'
import { Pulse } from '../transport/pulse.ts'
import type { StreamHandle } from '../transport/stream-handle.ts'
import { type FromHost, failureOf, fromJson, type HostRequest, type ToHost, toJson } from './host-protocol.ts'
import { notRunning, type RunningInstance, startInstance, stoppedMeanwhile } from './running-instance.ts'

/** How often it is looked whether there is news for the supervisor. */
const observePeriodMs = 1000
/** How long after its grace period a stop that hangs is given up. */
const stopMarginMs = 1000

/** Sockets that the supervisor has inherited are passed on under the same numbers; they are meant for whoever has them. */
const environment = { ...process.env, LISTEN_PID: String(process.pid) }
const clock = createSystemClock()
const loop = new Loop()
const instances = new Map<string, RunningInstance>()
/** Those that are on their way. */
const starts = new Map<string, { started: Promise<RunningInstance>; abort(): void }>()
/** What the supervisor knows of each, as JSON text. */
const told = new Map<string, string>()
/** The longest of the instances here. */
let graceSeconds = 0
let isEnding = false

function send(message: FromHost): void {
  // The channel may close at any moment; 'disconnect' is where that is dealt with.
  if (process.connected) process.send!(message, undefined, {}, () => {})
}

function tellNews(name: string): void {
  const instance = instances.get(name)
  if (instance === undefined) return
  const observation = instance.observe()
  const text = JSON.stringify(observation)
  if (told.get(name) === text) return
  told.set(name, text)
  send({ kind: 'observed', name, observation })
}

function find(name: string): RunningInstance {
  const instance = instances.get(name)
  if (instance === undefined) throw notRunning(name)
  return instance
}

async function answer(request: HostRequest): Promise<unknown> {
  switch (request.kind) {
    case 'ping':
      return undefined
    case 'start': {
      const { member, runDir } = request
      const { name, gracePeriodSeconds } = member.config
      const { pid, platform } = process
      const controller = new AbortController()
      const hostEnvironment = { clock, platform, pid, runDir, environment, loop, writeLog: null }
      const started = startInstance(member, hostEnvironment, controller.signal)
      starts.set(name, { started, abort: () => controller.abort(stoppedMeanwhile(name)) })
      instances.set(name, await started.finally(() => starts.delete(name)))
      graceSeconds = Math.max(graceSeconds, gracePeriodSeconds)
      tellNews(name)
      return undefined
    }
    case 'reload': {
      const { name, gracePeriodSeconds } = request.member.config
      graceSeconds = Math.max(graceSeconds, gracePeriodSeconds)
      try {
        await find(name).reload(request.member)
      } finally {
        tellNews(name)
      }
      return undefined
    }
    case 'stop': {
      const { name } = request
      const instance = find(name)
      await instance.stop()
      instances.delete(name)
      told.delete(name)
      return undefined
    }
    case 'call':
      try {
        return await find(request.name).call(request.verb, fromJson(request.json))
      } finally {
        tellNews(request.name)
      }
  }
}

function adopt(message: ToHost & { kind: 'connection' }, handle: StreamHandle | undefined): void {
  const { id, name, listener, peer } = message
  send({ kind: 'adopted', id })
  const released = () => send({ kind: 'released', id })
  const instance = instances.get(name)
  if (handle === undefined || instance === undefined) {
    handle?.close()
    released()
    return
  }
  // Reading begins in this process, so from here on there is no way back.
  instance.adopt({ handle, peer, listener, released, giveBack: released })
}

async function onMessage(message: ToHost, handle: StreamHandle | undefined): Promise<void> {
  if (message.kind === 'connection') return adopt(message, handle)
  if (message.kind === 'reopen-log') return instances.get(message.name)?.reopenLog()
  if (message.kind === 'abort') return starts.get(message.name)?.abort()
  const { id } = message
  try {
    send({ kind: 'answer', id, json: toJson(await answer(message), 'the answer') })
  } catch (error) {
    send({ kind: 'failure', id, failure: failureOf(error) })
  }
}

/** Accepts no more, parts with the clients and ends; the ports are free at once, or with the end of the process. */
async function end(): Promise<void> {
  if (isEnding) return
  isEnding = true
  setTimeout(() => process.exit(1), graceSeconds * 1000 + stopMarginMs).unref()
  const late = [...starts.values()].map(async ({ started, abort }) => {
    abort()
    // One that was nearly done.
    await (await started).stop()
  })
  await Promise.allSettled([...late, ...[...instances.values()].map((instance) => instance.stop())])
  process.exit(0)
}

function crash(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  for (const instance of instances.values()) instance.flushLogSync()
  process.exit(1)
}

process.on('message', (message, handle) => {
  void onMessage(message as ToHost, handle as StreamHandle | undefined)
})
process.on('disconnect', () => void end())
process.on('SIGTERM', () => void end())
// Ctrl-C and a terminal that closes reach the whole process group, and are the business of the supervisor.
process.on('SIGINT', () => {})
process.on('SIGHUP', () => {})
// Without a handler Node would open its debugger.
process.on('SIGUSR1', () => {
  for (const instance of instances.values()) instance.reopenLog()
})
process.on('uncaughtException', crash)
process.on('unhandledRejection', crash)

new Pulse(loop, clock, observePeriodMs, () => {
  for (const name of instances.keys()) tellNews(name)
  return false
}).start()
send({ kind: 'hello' })
