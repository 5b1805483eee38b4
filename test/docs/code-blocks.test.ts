// JavaScript in README.md and docs/ is no decoration: a block with an import is a program and is run to the end of its
// text, any other is a part of one of the examples, letter by letter.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { projectFolder, runProgram } from '../process/run-program.ts'
import { readPages } from './pages.ts'

const examplesFolder = join(projectFolder, 'examples')
const examples = readdirSync(examplesFolder)
  .filter((name) => /\.(mjs|ts)$/.test(name))
  .map((name) => readFileSync(join(examplesFolder, name), 'utf8'))

const blocks = readPages().flatMap(({ path, blocks }) =>
  blocks
    .filter(({ language }) => ['js', 'ts', 'javascript', 'typescript'].includes(language))
    .map((block) => ({ ...block, place: `${path}:${block.line}` })),
)

test('the library is documented with code', () => {
  assert.ok(blocks.filter(({ place }) => place.includes('library.md')).length >= 5)
})

for (const { place, code, language } of blocks) {
  if (language.startsWith('js') && /^import /m.test(code)) test(`${place} runs`, () => run(code))
  else {
    test(`${place} stands in an example`, () => {
      assert.ok(
        examples.some((example) => holds(example, code)),
        code,
      )
    })
  }
}

/** The block may be less indented than its place in the example. */
function holds(example: string, code: string): boolean {
  return ['', '  '].some((indent) => `\n${example}`.includes(`\n${code.replace(/^(?=.)/gm, indent)}`))
}

async function run(code: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-block-'))
  // Beneath the project, so that it finds the packages; its sockets are in a folder of its own.
  const programs = join(projectFolder, 'build/test/code-blocks')
  mkdirSync(programs, { recursive: true })
  const program = join(mkdtempSync(join(programs, 'block-')), 'program.mjs')
  // A broker would run on; messages to clients in the process are handed over in the next turn.
  const end = '\nawait new Promise((resolve) => setImmediate(resolve))\nprocess.exit()\n'
  writeFileSync(program, code.replaceAll('/tmp/', `${folder}/`) + end)
  try {
    const { code: exitCode, stderr } = await runProgram(process.execPath, [program], { cwd: folder })
    assert.equal(stderr, '')
    assert.equal(exitCode, 0)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
