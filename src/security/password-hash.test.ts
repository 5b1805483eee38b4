import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test } from 'node:test'
import { hashPassword, type PasswordHash, parsePasswordHash, verifyPassword } from './password-hash.ts'

function parsed(encoded: string): PasswordHash {
  const hash = parsePasswordHash(encoded)
  assert.ok(typeof hash !== 'string', String(hash))
  return hash
}

const isRight = (encoded: string, password: string) => verifyPassword(parsed(encoded), Buffer.from(password))

// Written by mosquitto_passwd 2.0.11.
const pbkdf2 =
  '$7$101$/8VuyZd1XcabSBFq$NBE3nukx+rCaYa0zoy4RucBMs4fzhsRvp/Qgt8Loy/sQXhpDhXFsyx0CfBgYrMz9wuzF7tBePu+16UnLGyw3Uw=='
const sha512 =
  '$6$NYMA7km9njAjWhSV$qZTk1aRJtToouep6pysHIz3irxtJWME9pj8ZPLyChDnlyZAnG6EF2NzsWwtJUv6KQ1JUWf6yTxHgINlGq3RqeQ=='

describe('a password hash', () => {
  test('of ours is right for its password only, and has a salt of its own', async () => {
    const encoded = await hashPassword(Buffer.from('päss:wörd$'))
    assert.match(encoded, /^\$scrypt\$ln=15,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
    assert.equal(await isRight(encoded, 'päss:wörd$'), true)
    assert.equal(await isRight(encoded, 'päss:wörd'), false)
    assert.equal(await isRight(encoded, ''), false)
    assert.notEqual(await hashPassword(Buffer.from('päss:wörd$')), encoded)
  })

  test('in PHC form from elsewhere is read: the vector of RFC 7914', async () => {
    const digest = Buffer.from(
      'fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640',
      'hex',
    )
    const text = (bytes: Buffer) => bytes.toString('base64').replaceAll('=', '')
    const cheap = `$scrypt$ln=10,r=8,p=1$${text(Buffer.from('SodiumChloride'))}$${text(digest)}`
    assert.equal(await isRight(cheap, 'pleaseletmein'), false) // the vector has ln=14
    const vector = Buffer.from(
      '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887',
      'hex',
    )
    const encoded = `$scrypt$ln=14,r=8,p=1$${text(Buffer.from('SodiumChloride'))}$${text(vector)}`
    assert.equal(await isRight(encoded, 'pleaseletmein'), true)
  })

  test('of mosquitto_passwd is right for its password only', async () => {
    for (const encoded of [pbkdf2, sha512]) {
      assert.equal(await isRight(encoded, 'correct horse'), true)
      assert.equal(await isRight(encoded, 'correct horsf'), false)
      assert.equal(await isRight(encoded, ''), false)
    }
  })

  test('by the documented $6$ rule, sha512 of password and salt, is right too', async () => {
    const salt = Buffer.from('0123456789ab')
    const digest = createHash('sha512').update('secret').update(salt).digest('base64')
    assert.equal(await isRight(`$6$${salt.toString('base64')}$${digest}`, 'secret'), true)
  })
})

describe('no password hash is', () => {
  const digest = 'A'.repeat(43)
  const salt = 'A'.repeat(22)
  for (const [encoded, expected] of [
    ['', /is missing/],
    ['secret', /plain text/],
    ['$', /not known/],
    ['$1$abc$def', /not known/],
    ['$argon2id$v=19$m=47104,t=1,p=1$c2FsdA$aGFzaA', /not known/],
    ['$constructor$a$b', /not known/],
    [`$scrypt$ln=15,r=8,p=1$${salt}$`, /hash is damaged/],
    [`$scrypt$ln=15,r=8,p=1$${salt}`, /\$salt\$hash/],
    [`$scrypt$ln=15,r=8,p=1$$${digest}`, /salt is damaged/],
    [`$scrypt$ln=15,r=8,p=1$${salt}$${digest.slice(0, 30)}`, /cut short/],
    [`$scrypt$ln=15,r=8,p=1$${salt}$${digest.slice(0, 42)}*`, /damaged/],
    [`$scrypt$ln=31,r=8,p=1$${salt}$${digest}`, /too costly/],
    [`$scrypt$ln=18,r=8,p=1$${salt}$${digest}`, /too costly/],
    [`$scrypt$ln=15,r=99,p=1$${salt}$${digest}`, /too costly/],
    [`$scrypt$ln=15,r=8,p=5$${salt}$${digest}`, /too costly/],
    [`$scrypt$ln=0,r=8,p=1$${salt}$${digest}`, /begin at 1/],
    [`$scrypt$ln=999,r=8,p=1$${salt}$${digest}`, /parameters are written/],
    [`$scrypt$ln=15,r=8,p=1$${'A'.repeat(400)}$${digest}`, /salt is damaged/],
    [pbkdf2.slice(0, -3), /cut short/],
    [pbkdf2.replace('$101$', '$0$'), /iterations/],
    [pbkdf2.replace('$101$', '$-1$'), /iterations/],
    [pbkdf2.replace('$101$', '$1e3$'), /iterations/],
    [pbkdf2.replace('$101$', '$2000001$'), /iterations/],
    [pbkdf2 + '$', /is \$7\$/],
    [pbkdf2.replace('$101', ''), /is \$7\$/],
    [sha512.slice(0, -20), /cut short/],
    [sha512.slice(0, sha512.lastIndexOf('$')), /is \$6\$/],
    [sha512 + ' ', /damaged/],
  ] as [string, RegExp][]) {
    test(JSON.stringify(encoded.slice(0, 60)), () => {
      const problem = parsePasswordHash(encoded)
      assert.ok(typeof problem === 'string')
      assert.match(problem, expected)
    })
  }

  test('and its text is not repeated, for it may be a password', () => {
    assert.doesNotMatch(String(parsePasswordHash('hunter2')), /hunter2/)
  })

  test('while the dearest that is allowed can be checked', async () => {
    assert.equal(await isRight(`$scrypt$ln=17,r=8,p=1$${salt}$${digest}`, 'x'), false)
  })
})
