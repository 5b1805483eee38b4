// Runs mosquitto_pub and mosquitto_sub as the processes they are, against the broker under test. Knows only their
// command lines and what they print.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import type { BrokerUnderTest, TransportName } from '../kit/broker.ts'
import { DEADLINE_MS } from '../kit/raw-client.ts'

export type MosquittoVersion = 'mqttv31' | 'mqttv311' | 'mqttv5'

export interface Place {
  broker: BrokerUnderTest
  transport: TransportName
  version: MosquittoVersion
  /** What is to be done at the end of the test, whatever its outcome. */
  cleanups: (() => void)[]
}

/** As `mosquitto_sub -F %j` prints it. */
export interface PrintedMessage {
  topic: string
  qos: number
  retain: number
  payloadlen: number
  payload: string
  properties?: Record<string, unknown>
}

const isInstalled = spawnSync('mosquitto_pub', ['--help']).error === undefined

/** A test that needs the Mosquitto clients: skipped without them, unless REQUIRE_INTEROP=1 demands them. */
export function mosquittoTest(name: string, body: () => Promise<void>): void {
  const isRequired = process.env.REQUIRE_INTEROP === '1'
  const skip = !isInstalled && !isRequired ? 'mosquitto_pub and mosquitto_sub are not installed' : false
  test(name, { skip }, body)
}

function placeArguments({ broker, transport, version }: Place): string[] {
  const address = broker.address(transport)
  const where = 'path' in address ? ['--unix', address.path] : ['-h', '127.0.0.1', '-p', String(address.port)]
  return [...where, '-V', version]
}

/** Runs mosquitto_pub to its end; `input` is the payload where the arguments give none. */
export async function mosquittoPub(place: Place, args: string[], input?: Buffer): Promise<void> {
  const payload = input === undefined ? [] : ['-s']
  const child = spawn('mosquitto_pub', [...placeArguments(place), ...args, ...payload])
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  child.stdin.end(input)
  const [code] = await once(child, 'close')
  assert.equal(code, 0, `mosquitto_pub ${args.join(' ')}: ${output}`)
}

/** A running mosquitto_sub whose messages are read as they come. */
export class MosquittoSub {
  readonly child: ChildProcess
  readonly #messages: PrintedMessage[] = []
  #wake: () => void = () => {}
  #output = ''

  private constructor(child: ChildProcess, place: Place) {
    this.child = child
    place.cleanups.push(() => child.kill('SIGKILL'))
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (!line.startsWith('{')) {
        this.#output += `${line}\n`
        return
      }
      this.#messages.push(JSON.parse(line))
      this.#wake()
    })
    child.stderr!.on('data', (chunk) => (this.#output += chunk))
    child.on('close', () => this.#wake())
  }

  /** Starts it and waits until its subscriptions are made. `args` are its own, with one `-t` or more. */
  static async start(place: Place, args: string[]): Promise<MosquittoSub> {
    // What it prints is buffered until a message comes, so a retained message of its own tells that it is there: its
    // filter is the last in the one SUBSCRIBE that mosquitto_sub sends.
    const topic = `ready/${randomBytes(6).toString('hex')}`
    await mosquittoPub(place, ['-t', topic, '-m', 'ready', '-r'])
    const child = spawn('mosquitto_sub', [...placeArguments(place), '-F', '%j', ...args, '-t', topic])
    const subscriber = new MosquittoSub(child, place)
    const first = await subscriber.next((message) => message.topic === topic)
    assert.equal(first.payload, 'ready')
    await mosquittoPub(place, ['-t', topic, '-n', '-r'])
    await subscriber.next((message) => message.topic === topic)
    return subscriber
  }

  /** Runs it to its end with `-C` or `-E`; returns what it has printed. */
  static async run(place: Place, args: string[]): Promise<PrintedMessage[]> {
    const child = spawn('mosquitto_sub', [...placeArguments(place), '-F', '%j', '-W', `${DEADLINE_MS / 1000}`, ...args])
    const subscriber = new MosquittoSub(child, place)
    const [code] = await once(child, 'close')
    assert.equal(code, 0, `mosquitto_sub ${args.join(' ')}: ${subscriber.#output}`)
    return subscriber.#messages
  }

  /** Takes the next message that `isWanted`, leaving others for later. */
  async next(isWanted: (message: PrintedMessage) => boolean = () => true): Promise<PrintedMessage> {
    const endAtMs = performance.now() + DEADLINE_MS
    for (;;) {
      const index = this.#messages.findIndex(isWanted)
      if (index >= 0) return this.#messages.splice(index, 1)[0]
      const leftMs = endAtMs - performance.now()
      const isOver = leftMs <= 0 || this.child.exitCode !== null
      if (isOver) assert.fail(`mosquitto_sub got no message: ${this.#output || 'it said nothing'}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** Messages printed and not yet taken. */
  get unread(): number {
    return this.#messages.length
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    this.child.kill(signal)
    await once(this.child, 'close')
  }
}
