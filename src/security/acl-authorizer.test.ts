import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createAclAuthorizer } from './acl-authorizer.ts'
import { parseAclFile, unrestrictedAclRules } from './acl-file.ts'
import type { Identity } from './authority.ts'

const rules = parseAclFile(
  `
topic read public/#
topic deny public/staff/#

user alice
topic plant/#
topic deny plant/secret/#
topic read $SYS/broker/uptime
topic write inbox

user root
topic #
topic read $SYS/#

user __proto__
topic read proto

pattern read dev/%c/cmd
pattern write dev/%c/state
pattern home/%u/#
pattern deny home/%u/locked
pattern read group/%g/+
pattern read %c/own
pattern read news
`,
  'test.acl',
)

function who(username: string | null, clientId = 'c1', group: string | null = null): Identity {
  return { username, clientId, group }
}

const alice = who('alice')
const root = who('root')
const anonymous = who(null)

describe('publishing (w) and receiving (r)', () => {
  const table: [Identity, string, string][] = [
    [anonymous, 'public/a', 'r'],
    [anonymous, 'public', 'r'],
    [anonymous, 'public/staff', ''],
    [anonymous, 'public/staff/a', ''],
    [anonymous, 'other', ''],
    [anonymous, 'news', 'r'],
    [anonymous, 'plant/a', ''],
    // the first rules are for anonymous clients only, as in Mosquitto
    [alice, 'public/a', ''],
    [alice, 'plant', 'rw'],
    [alice, 'plant/a', 'rw'],
    [alice, 'plant/secret', ''],
    [alice, 'plant/secret/a', ''],
    [alice, 'plantation', ''],
    [alice, 'inbox', 'w'],
    [alice, 'inbox/a', ''],
    [alice, 'news', 'r'],
    [alice, '$SYS/broker/uptime', 'r'],
    [alice, '$SYS/broker/version', ''],
    [root, 'any/thing', 'rw'],
    [root, '/', 'rw'],
    [root, '$SYS/broker/version', 'r'],
    [root, '$other', ''],
    [root, 'home/root/locked', ''],
    [who('stranger'), 'public/a', ''],
    [who('stranger'), 'news', 'r'],
    // patterns
    [alice, 'dev/c1/cmd', 'r'],
    [alice, 'dev/c1/state', 'w'],
    [alice, 'dev/c2/cmd', ''],
    [alice, 'home/alice', 'rw'],
    [alice, 'home/alice/a/b', 'rw'],
    [alice, 'home/alice/locked', ''],
    [alice, 'home/root/a', ''],
    [anonymous, 'home/', ''],
    [anonymous, 'home/null/a', ''],
    [who('a', 'c', 'staff'), 'group/staff/a', 'r'],
    [who('a', 'c', 'staff'), 'group/other/a', ''],
    [who('a', 'c'), 'group/staff/a', ''],
    [who('a', 'c'), 'group/null/a', ''],
    [who('a', 'c', '+'), 'group/staff/a', ''],
    // names that would like to be more than a name
    [who('+'), 'home/alice/a', ''],
    [who('#'), 'home/alice/a', ''],
    [who('alice/a'), 'home/alice/a', ''],
    [who('a\u0000'), 'home/a\u0000/b', ''],
    [who('a\u001b'), 'home/a\u001b/b', ''],
    [who(''), 'home//a', ''],
    [who('%u'), 'home/%u/a', 'rw'],
    [who('%c', 'c1'), 'home/c1/a', ''],
    [who('__proto__'), 'proto', 'r'],
    [who('__proto__'), 'home/__proto__/a', 'rw'],
    [who('constructor'), 'proto', ''],
    [who('constructor'), 'home/constructor/a', 'rw'],
    [who('toString'), 'plant/a', ''],
    [who('x', '+'), 'dev/c1/cmd', ''],
    [who('x', '#'), 'dev/c1/cmd', ''],
    [who('x', 'c1/cmd'), 'dev/c1/cmd', ''],
    [who('x', '$SYS'), '$SYS/own', ''],
    [who('x', 'SYS'), 'SYS/own', 'r'],
  ]
  const authorizer = createAclAuthorizer(rules)
  for (const [identity, topic, expected] of table) {
    test(`${JSON.stringify([identity.username, identity.clientId, identity.group, topic])}: ${expected || 'no'}`, () => {
      const read = authorizer.mayReceive(identity, topic) ? 'r' : ''
      const write = authorizer.mayPublish(identity, topic) ? 'w' : ''
      assert.equal(read + write, expected)
    })
  }
})

describe('subscribing', () => {
  const table: [Identity, string, boolean][] = [
    [anonymous, '#', true],
    [anonymous, '+', true],
    [anonymous, '+/+', true],
    [anonymous, 'public/staff/#', false],
    [anonymous, 'public/staff/+/a', false],
    [anonymous, 'public/+', true],
    [anonymous, 'plant/#', false],
    [alice, 'plant/#', true],
    [alice, 'plant/secret', false],
    [alice, 'plant/secret/#', false],
    [alice, 'plant/+/#', true],
    [alice, 'inbox', false], // write only
    [alice, '$SYS/#', true], // for the one topic that she may read
    [alice, '$SYS/+', false],
    [alice, 'dev/+/cmd', true],
    [alice, 'dev/c2/cmd', false],
    [alice, 'home/#', true],
    [alice, 'home/alice/locked', false],
    [alice, 'home/bob/#', false],
    [who('+'), 'home/bob/#', false],
    [who('+'), 'home/+/#', false],
    [who('#'), 'home/#', false],
    [who('x', '$SYS'), '$SYS/own', false],
    [who('stranger'), 'home/stranger/+', true],
    [who('stranger'), 'public/#', false],
  ]
  const authorizer = createAclAuthorizer(rules)
  for (const [identity, filter, expected] of table) {
    test(`${JSON.stringify([identity.username, identity.clientId, filter])}: ${expected}`, () => {
      assert.equal(authorizer.maySubscribe(identity, filter), expected)
    })
  }
})

test('a deny holds against names that could gain nothing by a grant', () => {
  const authorizer = createAclAuthorizer(parseAclFile('user a\u001b\ntopic x/#\npattern deny x/%u\n', 'test.acl'))
  assert.equal(authorizer.mayPublish(who('a\u001b'), 'x/a\u001b'), false)
  assert.equal(authorizer.maySubscribe(who('a\u001b'), 'x/a\u001b'), false)
  assert.equal(authorizer.mayPublish(who('a\u001b'), 'x/b'), true)
})

test('other rules are in force at once, and say so by the generation', () => {
  const authorizer = createAclAuthorizer(unrestrictedAclRules)
  assert.equal(authorizer.mayPublish(anonymous, 'a'), true)
  assert.equal(authorizer.mayReceive(anonymous, '$SYS/a'), true)
  assert.equal(authorizer.maySubscribe(anonymous, '#'), true)
  const before = authorizer.generation
  authorizer.update(parseAclFile('', 'empty.acl'))
  assert.ok(authorizer.generation > before)
  assert.equal(authorizer.mayPublish(anonymous, 'a'), false)
  assert.equal(authorizer.mayReceive(anonymous, 'a'), false)
  assert.equal(authorizer.maySubscribe(anonymous, '#'), false)
  authorizer.update(rules)
  assert.equal(authorizer.mayReceive(anonymous, 'public/a'), true)
})
