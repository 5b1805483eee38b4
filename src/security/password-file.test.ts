import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { describeOperatorError, OperatorError } from '../base/errors.ts'
import { deletePasswordFileUser, parsePasswordFile, setPasswordFileUser } from './password-file.ts'
import { verifyPassword } from './password-hash.ts'

// Written by mosquitto_passwd 2.0.11: three with its default, two with -H sha512.
const mosquittoFile = `alice:$7$101$/8VuyZd1XcabSBFq$NBE3nukx+rCaYa0zoy4RucBMs4fzhsRvp/Qgt8Loy/sQXhpDhXFsyx0CfBgYrMz9wuzF7tBePu+16UnLGyw3Uw==
bob the builder:$7$101$oQlHNL7hnt8tIRrA$ieDLdwRT+p+4Rz6DYNVdawpjYb1Qea/W8hMLNABGn8i/zx3Hm8CPw/5duKvU2i/zW5x5U2zX4QwkR/fETCqsuw==
carol:$7$101$ukY5QJJ2z/vYGTvB$fH6OuwTLB5lDgIEzth82uL5vB9TCFVadMJF6EwaDd7KjRoa8ViQaJnb8WLmeVn4ABnQiF5b3QwZ/S2k7iOMa3g==
dora:$6$NYMA7km9njAjWhSV$qZTk1aRJtToouep6pysHIz3irxtJWME9pj8ZPLyChDnlyZAnG6EF2NzsWwtJUv6KQ1JUWf6yTxHgINlGq3RqeQ==
emil:$6$BSoMeGneBuBh2bHY$ExONk6ClZzrEH9vFCGg8kE2XZTyL07i7QcYRPgBhc+QMHHyGoAZOBaOTZ/R9a/5uEWNftdEa4pKA+ItaOB0mNQ==
`
const [aliceLine, , , doraLine] = mosquittoFile.split('\n')
const aliceHash = aliceLine.slice('alice:'.length)

function errorOf(action: () => unknown, code: string): string {
  try {
    action()
  } catch (error) {
    assert.ok(error instanceof OperatorError, String(error))
    assert.equal(error.code, code)
    return describeOperatorError(error)
  }
  throw new Error('accepted')
}

async function isRight(text: string, username: string, password: string): Promise<boolean> {
  const hash = parsePasswordFile(text, 'test').get(username)
  assert.ok(hash !== undefined, `no user ${username}`)
  return verifyPassword(hash, Buffer.from(password))
}

describe('a password file', () => {
  test('of mosquitto_passwd is read as it is', async () => {
    assert.equal(await isRight(mosquittoFile, 'alice', 'correct horse'), true)
    assert.equal(await isRight(mosquittoFile, 'bob the builder', 'zażółć gęślą'), true)
    assert.equal(await isRight(mosquittoFile, 'carol', ''), true)
    assert.equal(await isRight(mosquittoFile, 'carol', ' '), false)
    assert.equal(await isRight(mosquittoFile, 'dora', 'correct horse'), true)
    assert.equal(await isRight(mosquittoFile, 'emil', 'pass:with$signs'), true)
    assert.equal(await isRight(mosquittoFile, 'emil', 'pass:with$sign'), false)
  })

  test('may have comments, blank lines, Windows line ends, no last line end, and strange names', () => {
    const text = `\uFEFF# users\r\n\r\n  ${aliceLine}\r\n__proto__:${aliceHash}\n+/#:${aliceHash}\nconstructor:${aliceHash}`
    assert.deepEqual([...parsePasswordFile(text, 'f').keys()], ['alice', '__proto__', '+/#', 'constructor'])
    assert.equal(parsePasswordFile(`# nobody yet\n`, 'f').size, 0)
  })

  for (const [line, expected] of [
    ['mallory', 'no colon between user name and password hash'],
    ['mallory:', 'the password hash is missing'],
    ['mallory:secret', 'this is not a password hash; plain text passwords are not read'],
    [`:${aliceHash}`, 'the user name is empty'],
    [`mallory :${aliceHash}`, 'the user name begins or ends with a space'],
    [`mal\tlory:${aliceHash}`, 'the user name contains a control character'],
    [`mal\u0000lory:${aliceHash}`, 'the user name contains a control character'],
    [`mallory:x:${aliceHash}`, 'this is not a password hash; plain text passwords are not read'],
    [aliceLine, 'user "alice" is given twice'],
    [doraLine.slice(0, 60), 'the hash is damaged or cut short'],
  ]) {
    test(`is refused whole for ${JSON.stringify(line.slice(0, 40))}`, () => {
      const text = `${aliceLine}\n# a comment\n${line}\n`
      const message = errorOf(() => parsePasswordFile(text, '/etc/atoll/a.passwd'), 'password-file-invalid')
      assert.ok(message.startsWith(`/etc/atoll/a.passwd:3: ${expected} (`), message)
    })
  }
})

describe('editing a password file', () => {
  const inFolder = (name: string, body: (path: string, folder: string) => void | Promise<void>) =>
    test(name, async () => {
      const folder = fs.mkdtempSync(join(tmpdir(), 'atoll-passwd-'))
      try {
        await body(join(folder, 'users'), folder)
      } finally {
        fs.rmSync(folder, { recursive: true })
      }
    })
  const modeOf = (path: string) => fs.statSync(path).mode & 0o777

  inFolder('makes the file, changes users, keeps comments and order', async (path, folder) => {
    await setPasswordFileUser(path, 'first', Buffer.from('one'))
    assert.equal(modeOf(path), 0o600)
    fs.writeFileSync(path, `# keep me\n\n${fs.readFileSync(path, 'utf8')}# and me\n${aliceLine}`)
    await setPasswordFileUser(path, 'third', Buffer.from('three'))
    await setPasswordFileUser(path, 'first', Buffer.from('uno'))

    const text = fs.readFileSync(path, 'utf8')
    const shape = text.split('\n').map((line) => line.replace(/:.*/, ':'))
    assert.deepEqual(shape, ['# keep me', '', 'first:', '# and me', 'alice:', 'third:', ''])
    assert.equal(await isRight(text, 'first', 'uno'), true)
    assert.equal(await isRight(text, 'first', 'one'), false)
    assert.equal(await isRight(text, 'third', 'three'), true)

    assert.equal(deletePasswordFileUser(path, 'first'), true)
    assert.equal(deletePasswordFileUser(path, 'first'), false)
    assert.equal(deletePasswordFileUser(path, '# keep me'), false)
    const left = fs.readFileSync(path, 'utf8')
    assert.deepEqual(
      left.split('\n').map((line) => line.replace(/:.*/, ':')),
      ['# keep me', '', '# and me', 'alice:', 'third:', ''],
    )
    assert.deepEqual(fs.readdirSync(folder), ['users'])
  })

  inFolder('goes through a symbolic link, keeps the mode, shuts others out', async (path, folder) => {
    const real = join(folder, 'real')
    fs.writeFileSync(real, mosquittoFile)
    fs.chmodSync(real, 0o644)
    fs.symlinkSync(real, path)
    await setPasswordFileUser(path, 'new', Buffer.from('x'))
    assert.equal(fs.lstatSync(path).isSymbolicLink(), true)
    assert.equal(modeOf(real), 0o640)
    assert.equal(parsePasswordFile(fs.readFileSync(real, 'utf8'), real).size, 6)
  })

  inFolder('leaves a damaged file as it is', async (path, folder) => {
    for (const content of [`${aliceLine}\nmallory:\n`, Buffer.from([0x61, 0xff, 0x0a])]) {
      fs.writeFileSync(path, content)
      await assert.rejects(setPasswordFileUser(path, 'new', Buffer.from('x')), { code: 'password-file-invalid' })
      errorOf(() => deletePasswordFileUser(path, 'alice'), 'password-file-invalid')
      assert.deepEqual(fs.readFileSync(path), Buffer.from(content))
    }
    assert.deepEqual(fs.readdirSync(folder), ['users'])
  })

  inFolder('refuses names and passwords that could not be read back', async (path) => {
    for (const name of ['', 'a:b', '#a', ' a', 'a\nroot', 'a\u0000', 'a'.repeat(65_536)]) {
      await assert.rejects(setPasswordFileUser(path, name, Buffer.from('x')), { code: 'user-name-invalid' })
    }
    await assert.rejects(setPasswordFileUser(path, 'a', Buffer.alloc(0)), { code: 'password-empty' })
    assert.equal(fs.existsSync(path), false)
  })

  inFolder('says which file is missing or in the way', async (path, folder) => {
    const deep = join(folder, 'no', 'such', 'users')
    await assert.rejects(setPasswordFileUser(deep, 'a', Buffer.from('x')), { code: 'password-file-unwritable' })
    assert.match(
      errorOf(() => deletePasswordFileUser(path, 'a'), 'password-file-missing'),
      /users: there is no such/,
    )
    errorOf(() => deletePasswordFileUser(folder, 'a'), 'password-file-unreadable')
  })

  // The other way round than the fixture: where the tool is installed, it must be able to edit after us, and we after it.
  inFolder('takes turns with mosquitto_passwd where that is installed', async (path) => {
    await setPasswordFileUser(path, 'ours', Buffer.from('one'))
    try {
      execFileSync('mosquitto_passwd', ['-b', path, 'theirs', 'two'], { stdio: 'pipe' })
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOENT')
      return
    }
    await setPasswordFileUser(path, 'last', Buffer.from('three'))
    const text = fs.readFileSync(path, 'utf8')
    assert.equal(await isRight(text, 'ours', 'one'), true)
    assert.equal(await isRight(text, 'theirs', 'two'), true)
    assert.equal(await isRight(text, 'last', 'three'), true)
  })
})
