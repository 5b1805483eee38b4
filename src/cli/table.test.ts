import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readListenerWords } from './listener-arguments.ts'
import { readSettings } from './setting-arguments.ts'
import { formatPairs, formatTable } from './table.ts'

test('columns are as wide as what stands in them, numbers to the right', () => {
  const rows = [
    ['a', 5, null],
    ['longer', 12, 'x'],
  ]
  assert.equal(formatTable(['NAME', 'N', 'WHY'], rows, null), 'NAME     N  WHY\na        5  -\nlonger  12  x\n')
  assert.equal(formatTable(['NAME'], [], null), 'NAME\n')
})

test('a table fits the terminal: the widest column gives', () => {
  const text = formatTable(['A', 'B'], [['short', 'x'.repeat(100)]], 40)
  const [, line] = text.split('\n')
  assert.equal([...line].length, 40)
  assert.match(line, /^short {2}x+…$/)
  // Too narrow for anything: nothing is cut below what can be recognised.
  assert.match(formatTable(['A', 'B'], [['y'.repeat(20), 'x'.repeat(20)]], 5), /y{7}… {2}x{7}…\n/)
})

test('no cell leaves its line or drives the terminal', () => {
  const text = formatTable(['A'], [['\u001b[31m\nforged\u009b\u2028']], null)
  assert.equal(text, 'A\n\\u001b[31m\\u000aforged\\u009b\\u2028\n')
  assert.equal(formatPairs([['key', 'a\nb']]), 'key  a\\u000ab\n')
})

test('settings of an instance: sections, and values as YAML reads them', () => {
  assert.deepEqual(readSettings(['port=1885', 'limits.inflight=7', 'limits.memory=64MiB', 'log.level=debug']), {
    port: 1885,
    limits: { inflight: 7, memory: '64MiB' },
    log: { level: 'debug' },
  })
  assert.deepEqual(readSettings(['listeners.a.mode="0600"', 'x=', 'y=[1, 2]']), {
    listeners: { a: { mode: '0600' } },
    x: '',
    y: [1, 2],
  })
  for (const wrong of [['port'], ['=1'], ['a=1', 'a.b=2'], ['a=[1']]) {
    assert.throws(() => readSettings(wrong), { code: 'usage' })
  }
  assert.deepEqual(Object.keys(readSettings(['__proto__.x=1'])), ['__proto__'])
})

test('words of a listener: VerneMQ spelling, address, name', () => {
  assert.deepEqual(readListenerWords(['address=local:/tmp/x.sock', 'port=0']), {
    address: 'local:/tmp/x.sock',
    port: 0,
  })
  assert.deepEqual(readListenerWords(['unix:///tmp/a=b.sock', 'mode=0600', 'protocols=3.1.1,5', 'anonymous=true']), {
    address: 'unix:///tmp/a=b.sock',
    mode: '0600',
    protocols: ['3.1.1', '5'],
    anonymous: true,
  })
  assert.deepEqual(readListenerWords(['local']), { name: 'local' })
  assert.throws(() => readListenerWords(['adress=x']), { code: 'unknown-key', fix: 'did you mean address?' })
  assert.throws(() => readListenerWords(['a', 'b']), { code: 'usage' })
})
