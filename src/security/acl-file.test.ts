import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { describeOperatorError, OperatorError } from '../base/errors.ts'
import { parseAclFile } from './acl-file.ts'

function errorOf(text: string): string {
  try {
    parseAclFile(text, '/etc/atoll/a.acl')
  } catch (error) {
    assert.ok(error instanceof OperatorError)
    assert.equal(error.code, 'acl-file-invalid')
    return describeOperatorError(error)
  }
  throw new Error(`accepted: ${text}`)
}

describe('an ACL file', () => {
  test('puts rules under anonymous, the user before them, or everyone', () => {
    const rules = parseAclFile(
      [
        '\uFEFF# first the anonymous ones\r',
        'topic read public/#\r',
        '',
        'user alice',
        '  topic write plant/in',
        'pattern read dev/%c/#',
        '\ttopic\tdeny plant/in/secret',
        'user Bob the Builder ',
        'topic plain',
        'user alice',
        'topic readwrite name with spaces/and more',
      ].join('\n'),
      'a.acl',
    )
    assert.equal(rules.isRestricted, true)
    assert.deepEqual(
      rules.anonymous.map((rule) => rule.access),
      ['read'],
    )
    assert.deepEqual([...rules.users.keys()], ['alice', 'Bob the Builder'])
    assert.deepEqual(
      rules.users.get('alice')?.map(({ access, filter }) => [access, filter.join('/')]),
      [
        ['write', 'plant/in'],
        ['deny', 'plant/in/secret'],
        ['readwrite', 'name with spaces/and more'],
      ],
    )
    assert.equal(rules.users.get('Bob the Builder')?.[0].access, 'readwrite')
    assert.equal(rules.patterns.length, 1)
  })

  test('that says nothing allows nothing', () => {
    assert.deepEqual(parseAclFile('', 'a.acl'), { isRestricted: true, anonymous: [], users: new Map(), patterns: [] })
  })

  for (const [line, expected] of [
    ['topics read a', 'unknown keyword "topics"'],
    ['Topic read a', 'unknown keyword "Topic"'],
    ['__proto__ a', 'unknown keyword "__proto__"'],
    ['user', 'user without a name'],
    ['topic', 'topic without a Topic Filter'],
    ['topic read', 'topic without a Topic Filter'],
    ['pattern deny', 'pattern without a Topic Filter'],
    ['topic reed a/b', 'unknown access "reed"'],
    ['topic constructor a/b', 'unknown access "constructor"'],
    ['topic read a/#/b', '"a/#/b" is not a Topic Filter'],
    ['topic read a+/b', '"a+/b" is not a Topic Filter'],
    ['topic read a/b # the door', '"a/b # the door" is not a Topic Filter'],
    ['topic deny $share/g/a', '"$share/g/a" names a Shared Subscription'],
    ['pattern read dev-%u/a', '"dev-%u/a" has a substitution inside a level'],
  ]) {
    test(`is refused whole for ${JSON.stringify(line)}`, () => {
      const message = errorOf(`topic read good\n\n${line}\ntopic read also/good\n`)
      assert.ok(message.startsWith(`/etc/atoll/a.acl:3: ${expected} (`), message)
    })
  }
})
