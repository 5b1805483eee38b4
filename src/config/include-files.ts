// The files that a configuration includes: which ones they are, in which order, and that they do not include each other
// in a circle. Knows of their content only `include`.
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { OperatorError } from '../base/errors.ts'
import { ConfigError } from './config-error.ts'
import { type ConfigNode, childOf, type MapNode, type ScalarNode } from './config-node.ts'
import { readDocument } from './read-document.ts'

export interface ConfigFile {
  /** Absolute. */
  readonly file: string
  readonly root: MapNode
}

const filesLimit = 10_000
const directoriesLimit = 10_000
const depthLimit = 8
const wildcard = /[*?]/

/**
 * Reads all files that `main` includes, those that they include too. A file that is named twice is read once.
 * @returns the included files in the order of the patterns, those of one pattern by their names
 */
export function includeFiles(main: ConfigFile, findings: OperatorError[]): ConfigFile[] {
  const included: ConfigFile[] = []
  const known = new Set([main.file])

  const follow = ({ file, root }: ConfigFile, open: readonly string[]): void => {
    for (const pattern of patternsOf(root)) {
      const fail = (code: string, message: string, fix?: string) =>
        findings.push(new OperatorError(code, message, { place: pattern.place, fix }))
      if (open.length > depthLimit) {
        fail('include-too-deep', `files include each other over more than ${depthLimit} steps`)
        return
      }
      let paths: string[]
      try {
        paths = filesOf(resolve(dirname(file), String(pattern.value)))
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException
        const reason = code === 'ENOENT' ? 'does not exist' : message
        fail(
          'file-missing',
          `the folder of ${String(pattern.value)} cannot be read: ${reason}`,
          'create it, or mend the path',
        )
        continue
      }
      for (const path of paths) {
        if (open.includes(path)) {
          fail('include-cycle', `${path} includes itself${path === file ? '' : `, by way of ${file}`}`, 'take it out')
          continue
        }
        if (known.has(path)) continue
        known.add(path)
        if (included.length >= filesLimit) {
          fail('out-of-range', `more than ${filesLimit} files are included`)
          return
        }
        try {
          const one = { file: path, root: readDocument(path, findings, `mend include in ${file}`) }
          included.push(one)
          follow(one, [...open, path])
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error
          findings.push(...error.findings)
        }
      }
    }
  }
  follow(main, [main.file])
  return included
}

function patternsOf(root: MapNode): ScalarNode[] {
  const node = childOf(root, 'include')
  const items: readonly ConfigNode[] = node?.kind === 'list' ? node.items : node === null ? [] : [node]
  return items.filter(
    (item): item is ScalarNode => item.kind === 'scalar' && typeof item.value === 'string' && item.value !== '',
  )
}

/**
 * The files of one absolute path with `*` and `?`, sorted. Without wildcards the path itself, whether it is there or not.
 * @throws the error of the file system when the part before the first wildcard is no folder
 */
function filesOf(pattern: string): string[] {
  if (!wildcard.test(pattern)) return [pattern]
  const steps = pattern.split('/')
  const fixed = steps.findIndex((step) => wildcard.test(step))
  let directories = [steps.slice(0, fixed).join('/') || '/']
  for (const [index, step] of steps.entries()) {
    if (index < fixed) continue
    const isLast = index === steps.length - 1
    const found: string[] = []
    for (const directory of directories) {
      if (!wildcard.test(step)) {
        const path = join(directory, step)
        if (!isLast || existsSync(path)) found.push(path)
        continue
      }
      for (const entry of entriesOf(directory, index > fixed)) {
        const isFitting = (isLast ? entry.isFile() : entry.isDirectory()) || entry.isSymbolicLink()
        // As in a shell, a hidden file must be meant.
        const isHidden = entry.name.startsWith('.') && !step.startsWith('.')
        if (isFitting && !isHidden && matches(entry.name, step)) found.push(join(directory, entry.name))
      }
    }
    directories = found.slice(0, isLast ? undefined : directoriesLimit)
  }
  return directories.sort()
}

function entriesOf(directory: string, mayBeMissing: boolean) {
  try {
    return readdirSync(directory, { withFileTypes: true })
  } catch (error) {
    // `sites/*/instances.d/*.yaml`: not every site need have the folder.
    if (mayBeMissing) return []
    throw error
  }
}

/** Whether a name fits `*` (any characters) and `?` (one). Goes back to the last star only, so that no pattern is slow. */
export function matches(name: string, pattern: string): boolean {
  let at = 0
  let star = -1
  let from = 0
  let next = 0
  while (at < name.length) {
    if (pattern[next] === '?' || (pattern[next] !== '*' && pattern[next] === name[at])) {
      at += 1
      next += 1
    } else if (pattern[next] === '*') {
      star = next++
      from = at
    } else if (star >= 0) {
      next = star + 1
      at = ++from
    } else return false
  }
  while (pattern[next] === '*') next += 1
  return next === pattern.length
}
