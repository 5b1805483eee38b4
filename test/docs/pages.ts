// The pages that users read, taken apart as far as the tests need it: headings, links, blocks of code.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectFolder } from '../process/run-program.ts'

export interface Page {
  /** As `docs/library.md`. */
  path: string
  /** Anchors of the headings, as GitHub makes them. */
  anchors: ReadonlySet<string>
  links: { target: string; line: number }[]
  blocks: { language: string; code: string; line: number }[]
}

/** README.md and the other pages of the project's folder and of docs/. */
export function readPages(): Page[] {
  return ['', 'docs'].flatMap((folder) =>
    readdirSync(join(projectFolder, folder))
      .filter((name) => name.endsWith('.md'))
      .sort()
      .map((name) => readPage(join(folder, name))),
  )
}

function readPage(path: string): Page {
  const anchors = new Set<string>()
  const page: Page = { path, anchors, links: [], blocks: [] }
  let block: { language: string; code: string; line: number } | null = null
  const lines = readFileSync(join(projectFolder, path), 'utf8').split('\n')
  for (const [index, text] of lines.entries()) {
    const line = index + 1
    const fence = /^\s*```(\w*)/.exec(text)
    if (fence !== null) {
      if (block !== null) page.blocks.push(block)
      block = block === null ? { language: fence[1], code: '', line } : null
    } else if (block !== null) block.code += `${text}\n`
    else {
      const heading = /^#{1,6} +(.*?)\s*$/.exec(text)
      if (heading !== null) addAnchor(anchors, heading[1])
      const plain = text.replace(/`[^`]*`/g, '``')
      for (const [, target] of plain.matchAll(/\]\(([^()\s]+)\)/g)) page.links.push({ target, line })
    }
  }
  if (block !== null) throw new Error(`${path}:${block.line}: a block of code has no end`)
  return page
}

/** Letters, digits, `-` and `_` of the heading in small letters; the second of a name is `name-1`. */
function addAnchor(anchors: Set<string>, heading: string): void {
  const text = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
  const slug = text.replace(/[^\p{L}\p{N}\p{M} _-]/gu, '').replaceAll(' ', '-')
  let anchor = slug
  for (let count = 1; anchors.has(anchor); count++) anchor = `${slug}-${count}`
  anchors.add(anchor)
}
