// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts of this test are about it
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ValueError } from './quantities.ts'
import { expandText, type VariableValue, variablesIn } from './variables.ts'

const scope = new Map<string, VariableValue>([
  ['name', 'plant-7'],
  ['index', 7],
  ['port', 1884],
  ['open', true],
])

for (const [text, expected] of [
  ['plain $ {text}', 'plain $ {text}'],
  ['', ''],
  ['${name}', 'plant-7'],
  ['unix:///run/${name}.sock', 'unix:///run/plant-7.sock'],
  ['tcp://127.0.0.1:${20000+index}', 'tcp://127.0.0.1:20007'],
  ['${port}', 1884],
  ['${ port + 10 * index - 4 }', 1950],
  ['${2*index*port}', 26_376],
  ['${10-3-2}', 5],
  ['${open}', true],
  ['${name}${index}', 'plant-77'],
  ['$${name} ${name}', '${name} plant-7'],
  ['$${', '${'],
] as [string, VariableValue][]) {
  test(`${text} is ${expected}`, () => assert.equal(expandText(text, scope), expected))
}

for (const [text, code, message] of [
  ['${', 'wrong-expression', /has no }/],
  ['${}', 'wrong-expression', /no variable and no sum/],
  ['${port index}', 'wrong-expression', /no sum/],
  ['${port+}', 'wrong-expression', /no sum/],
  ['${-1}', 'wrong-expression', /no sum/],
  ['${port/2}', 'wrong-expression', /no sum/],
  ['${a.b}', 'wrong-expression', /no sum/],
  ['${prot}', 'unknown-variable', /no variable "prot"/],
  ['${__proto__}', 'wrong-expression', /no sum/],
  ['${constructor}', 'unknown-variable', /no variable "constructor"/],
  ['${name+1}', 'wrong-expression', /"name" is "plant-7".*whole numbers/],
  ['${999999999999999*999999999999999}', 'out-of-range', /too large/],
] as [string, string, RegExp][]) {
  test(`${text} is refused`, () => {
    assert.throws(
      () => expandText(text, scope),
      (error) => error instanceof ValueError && error.code === code && message.test(error.message),
    )
  })
}

test('a mistyped variable is suggested', () => {
  assert.throws(
    () => expandText('${prot}', scope),
    (error) => error instanceof ValueError && error.fix === 'did you mean port?',
  )
})

test('the variables of a text', () => {
  assert.deepEqual(variablesIn('a ${name} b ${20000+index*port} $${no}'), ['name', 'index', 'port'])
  assert.deepEqual(variablesIn('none'), [])
})

test('no text does more than be expanded or refused', () => {
  const pieces = fc.constantFrom(
    '${',
    '}',
    '$',
    '{',
    'name',
    'index',
    '+',
    '-',
    '*',
    '1',
    '99999999999999999',
    ' ',
    'é',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(pieces, fc.string({ maxLength: 3 })), { maxLength: 20 }), (parts) => {
      try {
        const expanded = expandText(parts.join(''), scope)
        if (!parts.join('').includes('${')) assert.equal(expanded, parts.join(''))
      } catch (error) {
        assert.ok(error instanceof ValueError)
      }
    }),
    { numRuns: 1000 },
  )
})
