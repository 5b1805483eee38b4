// Peers that never become clients: other protocols, silence, and announcements that would cost memory.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { withBroker } from '../kit/broker.ts'
import { Stopwatch } from '../kit/stopwatch.ts'
import { variantTest } from '../kit/variants.ts'
import { connect, type Level } from '../kit/wire.ts'

const five: { levels: Level[] } = { levels: [5] }

describe('before CONNECT', { concurrency: true }, () => {
  const tlsHello = Buffer.concat([
    Buffer.from('16030101000100' + '00fc0303', 'hex'),
    Buffer.alloc(32, 0xab),
    Buffer.from('20', 'hex'),
    Buffer.alloc(214, 0x11),
  ])
  const strangers: [string, Buffer][] = [
    ['a TLS hello', tlsHello],
    ['an HTTP request', Buffer.from('POST /mqtt HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n')],
    ['an SSH banner', Buffer.from('SSH-2.0-OpenSSH_9.6\r\n')],
    ['zeros', Buffer.alloc(1000)],
    ['all ones', Buffer.alloc(1000, 0xff)],
    ['a PROXY header', Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n')],
  ]
  for (const [name, bytes] of strangers) {
    variantTest(`${name} is closed without a word`, five, async ({ connect: open, client }) => {
      const stranger = await open()
      stranger.send(bytes)
      await stranger.expectClosed()
      await (await client()).expectNothing()
    })
  }

  test('TLS on the plain port is told to the operator, and not a thousand times', async () => {
    const lines: string[] = []
    await withBroker({ writeLog: (line) => lines.push(line) }, async (broker) => {
      for (let index = 0; index < 50; index++) {
        const stranger = await broker.connect()
        stranger.send(tlsHello)
        await stranger.expectClosed()
      }
    })
    const told = lines.filter((line) => /TLS/i.test(line))
    assert.ok(told.length >= 1 && told.length <= 5, `${told.length} lines: ${told.slice(0, 3).join(' | ')}`)
  })

  const impatient = { levels: [5] as Level[], broker: { listener: { connectTimeout: '1s' } } }
  variantTest('silence ends with the connect timeout', impatient, async ({ connect: open }) => {
    const silent = await open()
    const stopwatch = new Stopwatch()
    await silent.expectClosed()
    stopwatch.assertBetween(800, 4000, 'closed')
  })

  variantTest(
    'a CONNECT that dribbles in ends with the connect timeout all the same',
    impatient,
    async ({ connect: open }) => {
      const slow = await open()
      const stopwatch = new Stopwatch()
      for (const byte of connect({ clientId: 'x'.repeat(200) })) {
        if (slow.isClosed) break
        slow.send(Buffer.from([byte]))
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      await slow.expectClosed()
      stopwatch.assertBetween(800, 4000, 'closed')
    },
  )

  variantTest('a client that has connected in time is not cut off by the timeout', impatient, async ({ client }) => {
    const a = await client()
    await new Promise((resolve) => setTimeout(resolve, 2500))
    await a.expectNothing()
  })

  variantTest(
    'an announced CONNECT of 256 MB is refused from its header, and costs no memory',
    five,
    async ({ connect: open, client }) => {
      const memoryBefore = process.memoryUsage()
      const peers = await Promise.all(Array.from({ length: 20 }, () => open()))
      for (const peer of peers) peer.send(Buffer.from('10ffffff7f00044d515454', 'hex'))
      for (const peer of peers) await peer.expectRefused(null)
      const { rss, arrayBuffers } = process.memoryUsage()
      assert.ok(rss - memoryBefore.rss < 200e6, `resident memory grew by ${rss - memoryBefore.rss} bytes`)
      assert.ok(arrayBuffers - memoryBefore.arrayBuffers < 100e6, 'buffers were allocated by announced length')
      await (await client()).expectNothing()
    },
  )

  variantTest('an announced PUBLISH of 256 MB is refused from its header', {}, async ({ client }) => {
    const a = await client()
    a.send(Buffer.from('30ffffff7f', 'hex'))
    await a.expectDisconnect(0x95)
  })
})
