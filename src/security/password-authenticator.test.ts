import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { AuthenticationAnswer, Credentials } from './authority.ts'
import { createPasswordAuthenticator } from './password-authenticator.ts'
import { type PasswordEntries, parsePasswordFile } from './password-file.ts'
import { hashPassword } from './password-hash.ts'

// mosquitto_passwd, 101 iterations: quick. alice and dora have "correct horse", carol has an empty password.
const cheapEntries = parsePasswordFile(
  `alice:$7$101$/8VuyZd1XcabSBFq$NBE3nukx+rCaYa0zoy4RucBMs4fzhsRvp/Qgt8Loy/sQXhpDhXFsyx0CfBgYrMz9wuzF7tBePu+16UnLGyw3Uw==
carol:$7$101$ukY5QJJ2z/vYGTvB$fH6OuwTLB5lDgIEzth82uL5vB9TCFVadMJF6EwaDd7KjRoa8ViQaJnb8WLmeVn4ABnQiF5b3QwZ/S2k7iOMa3g==
dora:$6$NYMA7km9njAjWhSV$qZTk1aRJtToouep6pysHIz3irxtJWME9pj8ZPLyChDnlyZAnG6EF2NzsWwtJUv6KQ1JUWf6yTxHgINlGq3RqeQ==
`,
  'test',
)
const none: PasswordEntries = new Map()

function credentials(username: string | null, password: string | null): Credentials {
  return {
    clientId: 'c',
    username,
    password: password === null ? null : Buffer.from(password),
    peer: { transport: 'memory', address: 'test', port: null, pid: null, uid: null, gid: null, label: 'memory:test' },
    listenerName: 'test',
  }
}

const yes: AuthenticationAnswer = { allowed: true }

function codeOf(answer: AuthenticationAnswer): number {
  return answer.allowed ? 0 : answer.reasonCode
}

describe('a password authenticator', () => {
  test('lets in who has the password, and no one else', async () => {
    const authenticator = createPasswordAuthenticator(cheapEntries)
    const ask = async (username: string | null, password: string | null) =>
      codeOf(await authenticator.authenticate(credentials(username, password)))
    assert.deepEqual(await authenticator.authenticate(credentials('alice', 'correct horse')), yes)
    assert.equal(await ask('dora', 'correct horse'), 0)
    assert.equal(await ask('alice', 'wrong'), 0x86)
    assert.equal(await ask('Alice', 'correct horse'), 0x86)
    for (const name of ['nobody', '', '__proto__', 'constructor', 'toString', '+', '#', 'a/b', 'alice\u0000']) {
      assert.equal(await ask(name, 'correct horse'), 0x86, name)
      assert.equal(await ask(name, ''), 0x86, name)
    }
  })

  test('tells a missing password from an empty one, and both from a match', async () => {
    const authenticator = createPasswordAuthenticator(cheapEntries)
    const ask = async (username: string | null, password: string | null) =>
      codeOf(await authenticator.authenticate(credentials(username, password)))
    assert.equal(await ask('alice', null), 0x86)
    assert.equal(await ask('alice', ''), 0x86)
    assert.equal(await ask('carol', null), 0x86)
    assert.equal(await ask('carol', ''), 0)
    assert.equal(await ask('carol', null), 0x86)
    assert.equal(await ask(null, 'correct horse'), 0x86)
    assert.equal(await ask(null, null), 0x86)
  })

  test('lets no one in by an empty file', async () => {
    const authenticator = createPasswordAuthenticator(none)
    assert.equal(codeOf(await authenticator.authenticate(credentials('', ''))), 0x86)
    assert.equal(codeOf(await authenticator.authenticate(credentials('alice', 'correct horse'))), 0x86)
  })

  test('answers at once who was right before, and never who was not', async () => {
    const authenticator = createPasswordAuthenticator(cheapEntries)
    assert.ok(authenticator.authenticate(credentials('alice', 'correct horse')) instanceof Promise)
    await authenticator.authenticate(credentials('alice', 'correct horse'))
    assert.deepEqual(authenticator.authenticate(credentials('alice', 'correct horse')), yes)
    for (const [name, password] of [
      ['alice', 'wrong'],
      ['nobody', 'correct horse'],
    ]) {
      assert.equal(codeOf(await authenticator.authenticate(credentials(name, password))), 0x86)
      const again = authenticator.authenticate(credentials(name, password))
      assert.ok(again instanceof Promise)
      assert.equal(codeOf(await again), 0x86)
    }
    assert.equal(codeOf(await authenticator.authenticate(credentials('alic', 'ecorrect horse'))), 0x86)
  })

  test('remembers no more than it is told to', async () => {
    const authenticator = createPasswordAuthenticator(cheapEntries, { concurrency: 2, queue: 9, cache: 1 })
    await authenticator.authenticate(credentials('alice', 'correct horse'))
    await authenticator.authenticate(credentials('dora', 'correct horse'))
    assert.deepEqual(authenticator.authenticate(credentials('dora', 'correct horse')), yes)
    assert.ok(authenticator.authenticate(credentials('alice', 'correct horse')) instanceof Promise)
  })

  test('forgets on reload who was removed or changed, and only those', async () => {
    const authenticator = createPasswordAuthenticator(cheapEntries)
    for (const name of ['alice', 'dora']) await authenticator.authenticate(credentials(name, 'correct horse'))
    const changed = `alice:${await hashPassword(Buffer.from('new'))}\n`
    const dora = `dora:${cheapEntries.get('dora')?.encoded}\n`
    authenticator.update(parsePasswordFile(changed + dora, 'test'))
    assert.equal(codeOf(await authenticator.authenticate(credentials('alice', 'correct horse'))), 0x86)
    assert.deepEqual(await authenticator.authenticate(credentials('alice', 'new')), yes)
    assert.deepEqual(authenticator.authenticate(credentials('dora', 'correct horse')), yes)
    authenticator.update(none)
    assert.equal(codeOf(await authenticator.authenticate(credentials('dora', 'correct horse'))), 0x86)
  })

  test('goes by the new entries for a check that was under way', async () => {
    const authenticator = createPasswordAuthenticator(cheapEntries)
    const answer = authenticator.authenticate(credentials('alice', 'correct horse'))
    authenticator.update(none)
    assert.equal(codeOf(await answer), 0x86)
    authenticator.update(cheapEntries)
    const asked = authenticator.authenticate(credentials('alice', 'correct horse'))
    assert.ok(asked instanceof Promise)
    assert.deepEqual(await asked, yes)
  })

  test('turns away with 0x89 who would wait too long, and recovers', async () => {
    const authenticator = createPasswordAuthenticator(cheapEntries, { concurrency: 2, queue: 3, cache: 10 })
    const answers = [...'abcdefgh'].map((name) => authenticator.authenticate(credentials(name, 'x')))
    const codes = (await Promise.all(answers)).map(codeOf)
    assert.deepEqual(codes, [0x86, 0x86, 0x86, 0x86, 0x86, 0x89, 0x89, 0x89])
    assert.equal(authenticator.busyCount, 3)
    assert.deepEqual(await authenticator.authenticate(credentials('alice', 'correct horse')), yes)
  })

  test('checks the same thing once for all who ask it together', async () => {
    const authenticator = createPasswordAuthenticator(cheapEntries, { concurrency: 1, queue: 0, cache: 10 })
    const storm = Array.from({ length: 100 }, () => authenticator.authenticate(credentials('alice', 'correct horse')))
    assert.deepEqual(new Set((await Promise.all(storm)).map(codeOf)), new Set([0]))
    assert.equal(authenticator.busyCount, 0)
  })

  test('works on while the password buffer of the caller is used for something else', async () => {
    const authenticator = createPasswordAuthenticator(cheapEntries, { concurrency: 1, queue: 9, cache: 10 })
    const first = authenticator.authenticate(credentials('nobody', 'x'))
    const mine = credentials('alice', 'correct horse')
    const second = authenticator.authenticate(mine)
    mine.password?.fill(0)
    await first
    assert.deepEqual(await second, yes)
  })

  test('takes as long for an unknown user as for a wrong password', async () => {
    const dear = parsePasswordFile(`alice:${await hashPassword(Buffer.from('x'))}\n`, 'test')
    const authenticator = createPasswordAuthenticator(dear)
    const leastMs = { alice: Number.POSITIVE_INFINITY, mallory: Number.POSITIVE_INFINITY }
    // In turns, so that what else the machine does meets both.
    for (let run = 0; run < 4; run++) {
      for (const username of ['alice', 'mallory'] as const) {
        const startMs = performance.now()
        await authenticator.authenticate(credentials(username, `wrong ${run}`))
        leastMs[username] = Math.min(leastMs[username], performance.now() - startMs)
      }
    }
    const { alice: known, mallory: unknown } = leastMs
    // Without a stand-in the ratio would be a hundred and more; the machine's moods stay far below.
    assert.ok(unknown > known / 5, `${unknown} ms for an unknown user, ${known} ms for a known one`)
  })
})
