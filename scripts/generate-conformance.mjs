#!/usr/bin/env node
// Writes docs/conformance.md: every normative statement of MQTT 5.0, its wording in our words, and the tests whose names
// begin with its id. With --check nothing is written; the page must be what would be written, every statement must have
// a test or a reason, and no test may name a statement that does not exist. Reads source text only: nothing is built or run.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const pagePath = join(root, 'docs', 'conformance.md')
const check = process.argv.includes('--check')

const chapters = new Map([
  ['1.5', 'Data representation'],
  ['2.1', 'Fixed header'],
  ['2.2', 'Variable header'],
  ['3.1', 'CONNECT'],
  ['3.2', 'CONNACK'],
  ['3.3', 'PUBLISH'],
  ['3.4', 'PUBACK'],
  ['3.5', 'PUBREC'],
  ['3.6', 'PUBREL'],
  ['3.7', 'PUBCOMP'],
  ['3.8', 'SUBSCRIBE'],
  ['3.9', 'SUBACK'],
  ['3.10', 'UNSUBSCRIBE'],
  ['3.11', 'UNSUBACK'],
  ['3.12', 'PINGREQ'],
  ['3.14', 'DISCONNECT'],
  ['3.15', 'AUTH'],
  ['4.1', 'Session state'],
  ['4.2', 'Network connections'],
  ['4.3', 'Quality of service'],
  ['4.4', 'Delivery again'],
  ['4.5', 'Receiving messages'],
  ['4.6', 'Order of messages'],
  ['4.7', 'Topic names and filters'],
  ['4.8', 'Subscriptions'],
  ['4.9', 'Flow control'],
  ['4.12', 'Enhanced authentication'],
  ['4.13', 'Errors'],
  ['6.0', 'WebSocket'],
])

/** The two tables of test/conformance/statements.ts, read as text. */
function readStatements() {
  const source = readFileSync(join(root, 'test', 'conformance', 'statements.ts'), 'utf8')
  const statements = new Map()
  for (const [, id, applies, wording] of source.matchAll(/^(MQTT-\S+) +(server|client|both) +(\S.*)$/gm)) {
    if (statements.has(id)) throw new Error(`${id} stands twice in test/conformance/statements.ts`)
    statements.set(id, { applies, wording, reason: null, tests: [] })
  }
  for (const [, id, reason] of source.matchAll(/^(MQTT-\S+) +(?!(?:server|client|both) )(\S.*)$/gm)) {
    const statement = statements.get(id)
    if (statement === undefined) throw new Error(`a reason in test/conformance/statements.ts names unknown ${id}`)
    statement.reason = reason
  }
  if (statements.size !== 251) throw new Error(`found ${statements.size} statements instead of 251`)
  return statements
}

function* testFiles(folder) {
  const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const entry of entries) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* testFiles(path)
    else if (entry.name.endsWith('.test.ts')) yield path
  }
}

/**
 * Every string that begins with statement ids in brackets, `'[MQTT-…] [MQTT-…] title'`: the name of a test, or of a row
 * from which one is made. A name that holds nothing else has an empty title.
 */
function* namedTests(source) {
  for (const match of source.matchAll(/(['"`])(\[MQTT-(?:\\.|(?!\1)[^\\])*)\1/g)) {
    if (/\.(?:skip|todo)\(\s*$/.test(source.slice(Math.max(0, match.index - 40), match.index))) continue
    const ids = /^(?:\[MQTT-[^\]]*\][\s,]*)+/.exec(match[2])
    if (ids === null) throw new Error(`the statement ids of a test lack their closing bracket: ${match[2]}`)
    const words = match[2].slice(ids[0].length).replace(/\$\{[^}]*\}/g, '…')
    yield { ids: ids[0].match(/MQTT-[^\],\s]+/g), title: words.replace(/\\(.)/g, '$1').replace(/\s+/g, ' ').trim() }
  }
}

const statements = readStatements()
const problems = []
for (const folder of ['src', 'test']) {
  for (const path of testFiles(join(root, folder))) {
    const file = relative(root, path)
    for (const { ids, title } of namedTests(readFileSync(path, 'utf8'))) {
      for (const id of ids) {
        const statement = statements.get(id)
        if (statement === undefined)
          problems.push(`${file}: test "${title}" names ${id}, which is no statement of MQTT 5.0`)
        else statement.tests.push({ file, title })
      }
    }
  }
}
for (const [id, { tests, reason }] of statements) {
  if (tests.length === 0 && reason === null) problems.push(`${id} has neither a test nor a reason for having none`)
}

const page = renderPage()
if (check) {
  let current = ''
  try {
    current = readFileSync(pagePath, 'utf8')
  } catch {
    // A page that is not there is stale.
  }
  if (current !== page) problems.push('docs/conformance.md is stale: run node scripts/generate-conformance.mjs')
} else {
  writeFileSync(pagePath, page)
}
for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1

function renderPage() {
  const all = [...statements.values()]
  const tested = all.filter(({ tests }) => tests.length > 0).length
  const lines = [
    '# Conformance with MQTT 5.0',
    '',
    'Every normative statement of the specification, in our own short words, and the tests that hold AtollMQ to it.',
    'Statements that bind only the client, or that nothing in this version can break, say so instead.',
    'This page is written by `node scripts/generate-conformance.mjs` from `test/conformance/statements.ts` and the names of the tests.',
    '',
    `${all.length} statements: ${tested} with tests, ${all.length - tested} without.`,
  ]
  let chapter = ''
  for (const [id, { applies, wording, reason, tests }] of statements) {
    const itsChapter = /^MQTT-(\d+\.\d+)/.exec(id)[1]
    if (itsChapter !== chapter) {
      chapter = itsChapter
      lines.push('', `## ${chapter} ${chapters.get(chapter) ?? ''}`.trimEnd(), '')
      lines.push('| statement | binds | in short | tests |', '|---|---|---|---|')
    }
    const cell = []
    if (reason !== null) cell.push(escapeCell(reason))
    for (const { file, title } of tests) cell.push(`\`${file}\`${title === '' ? '' : `: ${escapeCell(title)}`}`)
    lines.push(`| ${id} | ${applies} | ${escapeCell(wording)} | ${cell.join('<br>')} |`)
  }
  return `${lines.join('\n')}\n`
}

function escapeCell(text) {
  return text.replace(/[|*_<>\\]/g, '\\$&')
}
