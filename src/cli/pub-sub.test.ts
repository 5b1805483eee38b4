// `atoll pub` and `atoll sub` as processes of their own, with a real broker between them: our own, and Mosquitto.
import assert from 'node:assert/strict'
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Mosquitto, startMosquitto, withoutMosquitto } from '../client/mosquitto.test.support.ts'

const main = join(import.meta.dirname, 'main.js')
const limits = { skip: withoutMosquitto, timeout: 120_000 }

type Broker = Pick<Mosquitto, 'port' | 'socketPath' | 'stop'>

let broker: Broker | null = null
let folder = ''

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'atoll-pub-sub-'))
})
after(() => rm(folder, { recursive: true }))

interface Result {
  code: number | null
  signal: NodeJS.Signals | null
  out: string
  err: string
}

class Run {
  readonly child: ChildProcessWithoutNullStreams
  readonly result: Promise<Result>
  readonly #changed: (() => void)[] = []
  out = ''
  err = ''

  constructor(words: readonly string[], environment: NodeJS.ProcessEnv = {}) {
    const { ATOLL_ADDRESS: _, ...inherited } = process.env
    this.child = spawn(process.execPath, [main, ...words], { env: { ...inherited, ...environment } })
    this.child.stdout.setEncoding('latin1').on('data', (text: string) => {
      this.out += text
      this.#wake()
    })
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.err += text
      this.#wake()
    })
    this.child.stdin.on('error', () => {})
    this.result = once(this.child, 'close').then(([code, signal]) => {
      this.#wake()
      return { code, signal, out: this.out, err: this.err }
    })
  }

  #wake(): void {
    for (const wake of this.#changed.splice(0)) wake()
  }

  async until(isReached: (run: this) => boolean): Promise<void> {
    while (!isReached(this)) {
      assert.equal(this.child.exitCode, null, `ended early: ${this.out}${this.err}`)
      await new Promise<void>((resolve) => this.#changed.push(resolve))
    }
  }
}

function place(): string[] {
  assert.ok(broker !== null)
  return ['--unix', broker.socketPath]
}

/** Runs a command to its end, with `input` on its standard input. */
async function run(
  words: readonly string[],
  input: string | Buffer = '',
  environment?: NodeJS.ProcessEnv,
): Promise<Result> {
  const started = new Run(words, environment)
  started.child.stdin.end(input)
  return started.result
}

/** A subscriber that the broker knows of. */
async function subscribed(...words: string[]): Promise<Run> {
  const subscriber = new Run(['sub', ...place(), '-d', ...words])
  await subscriber.until(({ err }) => err.includes('received SUBACK'))
  return subscriber
}

async function startAtoll(): Promise<Broker> {
  const socketPath = join(folder, 'atoll.sock')
  const configPath = join(folder, 'atoll.json')
  const listeners = { tcp: 'tcp://127.0.0.1:0', local: `unix://${socketPath}` }
  await writeFile(configPath, JSON.stringify({ dataDir: join(folder, 'data'), runDir: folder, listeners }))
  const server = new Run(['start', '-c', configPath])
  await server.until(({ out }) => / ready /.test(out))
  const port = Number(/address=tcp:\/\/127\.0\.0\.1:(\d+)/.exec(server.out)?.[1])
  return {
    port,
    socketPath,
    async stop() {
      server.child.kill('SIGTERM')
      assert.equal((await server.result).code, 0)
    },
  }
}

const fine = { code: 0, signal: null, out: '', err: '' }

const brokers: [name: string, skip: string | false, start: () => Promise<Broker>][] = [
  ['AtollMQ', false, startAtoll],
  ['Mosquitto', withoutMosquitto, startMosquitto],
]

for (const [name, skip, start] of brokers) {
  describe(`with ${name}`, { skip }, () => {
    before(async () => {
      broker = await start()
    })
    after(() => broker?.stop())

    test('every source of messages', { timeout: 120_000 }, async () => {
      const file = join(folder, 'payload.bin')
      await writeFile(file, Buffer.from([0, 10, 255]))
      const rows: [words: string[], input: string, expected: string[]][] = [
        [['-m', 'text'], '', ['74657874']],
        [['-m', ''], '', ['']],
        [['-n'], '', ['']],
        [['-f', file], '', ['000aff']],
        [['-s'], 'a\nb\n', ['610a620a']],
        [['-l'], 'a\n\nb', ['61', '', '62']],
        [['-l', '-q', '1'], 'a\nb\n', ['61', '62']],
        [['-m', 'x', '--repeat', '3', '-q', '2'], '', ['78', '78', '78']],
        [['-m', 'x', '--repeat', '2', '--repeat-delay', '0.05'], '', ['78', '78']],
      ]
      for (const [words, input, expected] of rows) {
        const subscriber = await subscribed('-t', 'source', '-q', '2', '-F', '%x', '-C', String(expected.length))
        assert.deepEqual(await run(['pub', ...place(), '-t', 'source', ...words], input), fine)
        const { code, out } = await subscriber.result
        assert.deepEqual([code, out], [0, `${expected.join('\n')}\n`], words.join(' '))
      }
    })

    test('over TCP, by URL, by environment, and in every version', { timeout: 120_000 }, async () => {
      assert.ok(broker !== null)
      const { port, socketPath } = broker
      const rows: [words: string[], environment: NodeJS.ProcessEnv][] = [
        [['-h', '127.0.0.1', '-p', String(port), '-V', '3.1'], {}],
        [['-p', String(port), '-V', 'mqttv311'], {}],
        [['-A', `tcp://127.0.0.1:${port}`], {}],
        [['-A', `unix://${socketPath}`, '-V', '5'], {}],
        [[], { ATOLL_ADDRESS: `unix://${socketPath}` }],
      ]
      const subscriber = await subscribed('-t', 'where', '-C', String(rows.length))
      for (const [words, environment] of rows) {
        assert.deepEqual(await run(['pub', ...words, '-t', 'where', '-m', 'x', '-q', '1'], '', environment), fine)
      }
      assert.equal((await subscriber.result).out, 'x\n'.repeat(rows.length))
    })

    test('JSON with properties, verbose, and filtered', { timeout: 120_000 }, async () => {
      const json = await subscribed(
        '-t',
        'form/#',
        '-T',
        'form/skip',
        '--json',
        '-C',
        '2',
        '-q',
        '1',
        '--subscription-identifier',
        '9',
      )
      const verbose = await subscribed('-t', 'form/#', '-v', '-C', '3', '-V', '3.1.1')
      const publish = ['pub', ...place(), '-q', '1', '-t']
      await run([...publish, 'form/skip', '-m', 'x'])
      const properties = [
        '-D',
        'publish',
        'user-property',
        'a',
        'b',
        '--user-property',
        'c=d=e',
        '--content-type',
        'text',
      ]
      const more = [
        '--response-topic',
        'r',
        '--correlation-data',
        'id',
        '--expiry',
        '100',
        '-D',
        'publish',
        'payload-format-indicator',
        '1',
      ]
      await run([...publish, 'form/a', '-m', 'ü', ...properties, ...more])
      await run([...publish, 'form/b', '-s'], Buffer.from([0xff]))
      const lines = (await json.result).out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(Buffer.from(line, 'latin1').toString()))
      assert.deepEqual(
        lines.map(({ topic, payload, encoding, qos }) => [topic, payload, encoding, qos]),
        [
          ['form/a', 'ü', 'utf8', 1],
          ['form/b', '/w==', 'base64', 1],
        ],
      )
      assert.deepEqual(lines[0].properties, {
        payloadFormatIndicator: 1,
        messageExpiryInterval: 100,
        contentType: 'text',
        responseTopic: 'r',
        correlationData: 'aWQ=',
        subscriptionIdentifiers: [9],
        userProperties: [
          ['a', 'b'],
          ['c', 'd=e'],
        ],
      })
      assert.equal((await verbose.result).out, 'form/skip x\nform/a \xc3\xbc\nform/b \xff\n')
    })

    test('retained messages', { timeout: 120_000 }, async () => {
      const publish = ['pub', ...place(), '-t', 'kept', '-q', '1']
      await run([...publish, '-r', '-m', 'old'])
      const subscribe = ['sub', ...place(), '-t', 'kept']
      assert.equal((await run([...subscribe, '-C', '1', '-F', '%r %p'])).out, '1 old\n')
      assert.equal((await run([...subscribe, '--retain-handling', '2', '-W', '0.3'])).code, 27)
      const fresh = await subscribed('-t', 'kept', '-R', '-C', '1', '-N')
      await run([...publish, '-m', 'new'])
      assert.equal((await fresh.result).out, 'new')
      const only = await subscribed('-t', 'kept', '--retained-only')
      await only.until(({ out }) => out === 'old\n')
      await run([...publish, '-m', 'newer'])
      assert.deepEqual([(await only.result).code, only.out], [0, 'old\n'])
      await run([...publish, '-r', '-n'])
    })

    test('a session is kept with -c, and unsubscribed with -U', { timeout: 120_000 }, async () => {
      const keep = ['-c', '-i', 'keeper', '-q', '1']
      assert.deepEqual(await run(['sub', ...place(), ...keep, '-t', 'later', '-E']), fine)
      await run(['pub', ...place(), '-t', 'later', '-m', 'waited', '-q', '1'])
      const second = await run(['sub', ...place(), ...keep, '-t', 'later', '-C', '1', '--json'])
      const { payload, qos } = JSON.parse(second.out)
      assert.deepEqual([second.code, payload, qos], [0, 'waited', 1])
      assert.deepEqual(await run(['sub', ...place(), ...keep, '-U', 'later']), fine)
      await run(['pub', ...place(), '-t', 'later', '-m', 'nobody', '-q', '1'])
      assert.equal((await run(['sub', ...place(), ...keep, '-t', 'other', '-W', '0.3'])).code, 27)
      assert.deepEqual(await run(['sub', ...place(), '-i', 'keeper', '-t', 'later', '-E']), fine)
    })

    test('Ctrl-C leaves cleanly', { timeout: 120_000 }, async () => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) {
        const subscriber = await subscribed('-t', 'signal')
        subscriber.child.kill(signal)
        const { code, err } = await subscriber.result
        assert.equal(code, 0)
        assert.match(err, /sent DISCONNECT/)
      }
      const publisher = new Run(['pub', ...place(), '-d', '-t', 'signal', '-l'])
      await publisher.until(({ err }) => err.includes('received CONNACK'))
      publisher.child.kill('SIGINT')
      const { code, err } = await publisher.result
      assert.equal(code, 130)
      assert.match(err, /sent DISCONNECT/)
    })

    test('a reader of the output that goes away is no error', { timeout: 120_000 }, async () => {
      const subscriber = await subscribed('-t', 'pipe')
      subscriber.child.stdout.destroy()
      const publisher = new Run([
        'pub',
        ...place(),
        '-t',
        'pipe',
        '-m',
        'x',
        '--repeat',
        '100000',
        '--repeat-delay',
        '0.01',
      ])
      const { code, err } = await subscriber.result
      publisher.child.kill('SIGKILL')
      await publisher.result
      assert.equal(code, 0)
      assert.doesNotMatch(err, /EPIPE|Error/)
    })

    test('errors say what happened, where, and what to do', { timeout: 120_000 }, async () => {
      const rows: [words: string[], code: number, err: RegExp][] = [
        [
          ['pub', '-p', '1', '-t', 'a', '-n'],
          1,
          /^atoll: cannot connect to tcp:\/\/127\.0\.0\.1:1: connection refused.*start the broker/,
        ],
        [['pub', '--unix', '/nowhere/x', '-t', 'a', '-n'], 1, /unix:\/\/\/nowhere\/x: there is no such socket file/],
        [['pub', ...place(), '-t', 'a/#', '-n'], 64, /topic "a\/#" cannot be published to/],
        [['pub', ...place(), '-t', 'a', '-f', '/nowhere/y'], 1, /^\/nowhere\/y: the file cannot be read/],
        [
          ['pub', ...place(), '-t', 'a', '-n', '-D', 'publish', 'receive-maximum', '1'],
          64,
          /receiveMaximum is not allowed here/,
        ],
        [['pub', ...place(), '-t', 'a'], 64, /give one of -m, -f, -l, -s and -n/],
        [['pub', ...place(), '-n'], 64, /required option '-t, --topic <topic>'/],
        [['pub', ...place(), '-t', 'a', '-n', '-q', '3'], 64, /Give 0, 1 or 2/],
        [['sub', ...place()], 64, /give -t/],
        [['sub', ...place(), '-t', 'a', '-v', '--json'], 64, /exclude each other/],
        [['sub', ...place(), '-t', 'a', '-F', '%y'], 64, /"%y", which means nothing/],
        [['sub', ...place(), '-t', 'a/#/b'], 64, /topic filter "a\/#\/b" is not valid/],
        [['sub', ...place(), '-t', 'a', '-T', '+x'], 64, /"\+x" is no topic filter/],
        [['sub', ...place(), '-t', 'a', '--no-local', '-V', '3.1.1'], 64, /needs MQTT 5/],
        // Nothing has to run there for that to be told.
        [['pub', '-p', '1', '-t', '', '-n'], 64, /topic "" cannot be published to/],
        [['pub', '-p', '1', '-t', 'a', '-n', '-V', '3.1.1', '--content-type', 'x'], 64, /contentType needs MQTT 5/],
        [['pub', '-p', '1', '-t', 'a', '-n', '-D', 'foo'], 64, /"foo" takes no properties/],
        [['pub', '-A', 'foo://', '-t', 'a', '-n'], 64, /unknown scheme/],
        [['pub', '--unix', '', '-t', 'a', '-n'], 64, /names no socket/],
        [['pub', '-p', '1', '-t', 'a', '-n', '-c'], 64, /without -i/],
        [['sub', '-p', '1', '-t', 'a', '-U', 'x#'], 64, /topic filter "x#" is not valid/],
        [['sub', ...place(), '-t', 'a', '-W', '0.2'], 27, /no end within 0\.2 s/],
      ]
      for (const [words, code, message] of rows) {
        const result = await run(words)
        assert.deepEqual([result.code, result.out], [code, ''], words.join(' '))
        assert.match(result.err, message)
        if (!/tcp:|no end/.test(result.err)) continue
        const quiet = await run([...words, '--quiet'])
        assert.deepEqual([quiet.code, quiet.err], [code, ''], words.join(' '))
      }
      assert.match((await run(['pub', '--help'])).out, /--unix <path>/)
    })

    test('passwords do not show in what -d prints', { timeout: 120_000 }, async () => {
      const { code, err } = await run([
        'pub',
        ...place(),
        '-t',
        'a',
        '-m',
        'hidden',
        '-u',
        'me',
        '-P',
        'secret-word',
        '-d',
      ])
      assert.equal(code, 0)
      assert.match(err, /^sent CONNECT \{.*"username":"me","password":"\*\*\*"/m)
      assert.match(err, /^sent PUBLISH \{"topic":"a","payload":"6 bytes"/m)
      assert.doesNotMatch(err, /secret-word/)
    })
  })
}

test('a refusal is the exit code, as with the clients of Mosquitto', limits, async () => {
  const strict = await startMosquitto(['allow_anonymous false'])
  try {
    for (const [version, code] of [
      ['3.1', 5],
      ['3.1.1', 5],
      ['5', 135],
    ] as const) {
      const words = ['--unix', strict.socketPath, '-t', 'a', '-V', version]
      const published = await run(['pub', ...words, '-n'])
      assert.equal(published.code, code)
      assert.match(published.err, /refused the client: not authorized \(0x87\) \(check the user name/)
      assert.equal((await run(['sub', ...words])).code, code)
    }
  } finally {
    await strict.stop()
  }
})

test('rights that are missing are told in words', limits, async () => {
  const file = join(folder, 'acl')
  await writeFile(file, 'topic readwrite open/#\n')
  const strict = await startMosquitto(['allow_anonymous true', `acl_file ${file}`])
  try {
    const words = ['--unix', strict.socketPath, '-q', '1', '-m', 'x', '-t']
    const refused = await run(['pub', ...words, 'closed'])
    assert.deepEqual([refused.code, refused.err], [1, 'atoll: the server refused the message: not authorized (0x87)\n'])
    assert.equal((await run(['pub', ...words, 'open/a'])).code, 0)
  } finally {
    await strict.stop()
  }
})

test('sub connects again when the server has gone', limits, async () => {
  const first = await startMosquitto()
  const port = String(first.port)
  const subscriber = new Run(['sub', '-p', port, '-t', 'again', '-C', '1', '-d'])
  const single = new Run(['sub', '-p', port, '-t', 'again', '--no-reconnect', '-d'])
  await subscriber.until(({ err }) => err.includes('received SUBACK'))
  await single.until(({ err }) => err.includes('received SUBACK'))
  await first.stop()
  assert.equal((await single.result).code, 1)
  await subscriber.until(({ err }) => err.includes('connecting again'))
  const sockets: Socket[] = []
  const second = createServer((socket) => {
    sockets.push(socket)
    // CONNACK, SUBACK and a message, whatever is asked.
    socket.once('data', () => {
      socket.write(Buffer.from('2003000000', 'hex'))
      socket.once('data', () => socket.write(Buffer.from('90040001000030090005616761696e0078', 'hex')))
    })
    socket.on('error', () => {})
  }).listen(Number(port), '127.0.0.1')
  try {
    const { code, out } = await subscriber.result
    assert.deepEqual([code, out], [0, 'x\n'])
  } finally {
    for (const socket of sockets) socket.destroy()
    second.close()
  }
})
