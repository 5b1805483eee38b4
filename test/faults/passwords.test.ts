// The password file as the only authority: what is missing, empty or almost right lets nobody in.
import assert from 'node:assert/strict'
import { pbkdf2Sync, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { withBroker } from '../kit/broker.ts'
import { forEachVariant } from '../kit/variants.ts'
import type { ConnectOptions } from '../kit/wire.ts'

/** A line as `mosquitto_passwd` writes it. */
function passwordLine(username: string, password: string): string {
  const salt = randomBytes(12)
  const digest = pbkdf2Sync(password, salt, 101, 64, 'sha512')
  return `${username}:$7$101$${salt.toString('base64')}$${digest.toString('base64')}\n`
}

async function withPasswordFile(lines: string[], body: (path: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'atoll-passwords-'))
  try {
    const path = join(folder, 'passwd')
    await writeFile(path, lines.join(''), { mode: 0o600 })
    await body(path)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const users = [passwordLine('ada', 'right'), passwordLine('empty', ''), passwordLine('__proto__', 'right')]

describe('password file', { concurrency: 6 }, () => {
  forEachVariant(({ level, transport, name }) => {
    test(`only the right password of a known user is let in (${name})`, () =>
      withPasswordFile(users, (passwords) =>
        withBroker({ auth: { passwords } }, async (broker) => {
          const place = { level, transport }
          const letIn: ConnectOptions[] = [
            { username: 'ada', password: 'right' },
            { username: 'empty', password: '' },
            { username: '__proto__', password: 'right' },
          ]
          for (const options of letIn) await (await broker.client(options, place)).expectNothing()
          const refused: ConnectOptions[] = [
            { username: 'ada', password: 'wrong' },
            { username: 'ada', password: '' },
            { username: 'ada' },
            { username: 'ada', password: 'right ' },
            { username: 'ADA', password: 'right' },
            { username: 'ada ', password: 'right' },
            { username: '', password: 'right' },
            { username: '', password: '' },
            { username: 'empty' },
            { username: 'nobody', password: 'right' },
            { username: 'constructor', password: '' },
            { username: 'toString' },
          ]
          for (const options of refused) {
            const client = await broker.connect(place)
            client.sendConnect(options)
            await client.expectRefused(0x86, 4).catch((error: Error) => {
              assert.fail(`${JSON.stringify(options)}: ${error.message}`)
            })
          }
          const unnamed = await broker.connect(place)
          unnamed.sendConnect()
          await unnamed.expectRefused(0x87, 5)
        }),
      ))
  })

  for (const [what, lines] of [
    ['missing', null],
    ['damaged', [...users, 'bob\n']],
    ['with a password in plain text', ['ada:right\n']],
  ] as const) {
    test(`with a password file that is ${what} the broker does not start`, () =>
      withPasswordFile(lines === null ? [] : [...lines], async (path) => {
        const passwords = lines === null ? `${path}-is-not-here` : path
        await assert.rejects(
          withBroker({ auth: { passwords } }, async () => {}),
          (error: Error) => !error.message.includes('right'),
        )
      }))
  }
})
