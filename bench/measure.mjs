// Memory and machine figures from /proc, medians. Bytes unless a name says otherwise.
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import os from 'node:os'

const kibibytes = (text, key) => Number(text.match(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm'))?.[1] ?? 0) * 1024

const sum = (list) => list.reduce((total, value) => total + value, 0)

/** { rssBytes, pssBytes, peakBytes } of all the processes of a broker together. */
export const memoryOf = async (pids) => {
  const each = await Promise.all(
    pids.map(async (pid) => {
      const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
      const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
      return [
        kibibytes(rollup, 'Rss') || kibibytes(status, 'VmRSS'),
        kibibytes(rollup, 'Pss'),
        kibibytes(status, 'VmHWM'),
        kibibytes(status, 'RssAnon'),
      ]
    }),
  )
  return {
    rssBytes: sum(each.map(([rss]) => rss)),
    pssBytes: sum(each.map(([, pss]) => pss)),
    peakBytes: sum(each.map(([, , peak]) => peak)),
    /** Without the pages of files, which the kernel takes back when it wants to. */
    anonymousBytes: sum(each.map(([, , , anonymous]) => anonymous)),
  }
}

/** Lets garbage collection and the kernel settle, then reads. */
export const settledMemoryOf = async (pids) => {
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  return memoryOf(pids)
}

export const median = (list) => {
  const sorted = list.filter((value) => Number.isFinite(value)).sort((a, b) => a - b)
  if (!sorted.length) return undefined
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

export const machine = () => ({
  cpu: os.cpus()[0]?.model.trim() ?? '?',
  cores: os.cpus().length,
  memoryGiB: Math.round(os.totalmem() / 2 ** 30),
  kernel: os.release(),
  node: process.versions.node,
})

/** Where broker and generator run: the first two of the cores that we may use, the same one if there is only one. */
export const cores = () => {
  const list = readFileSync('/proc/self/status', 'utf8').match(/^Cpus_allowed_list:\s+(\S+)/m)?.[1] ?? '0'
  const allowed = list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number)
    return Array.from({ length: Math.min(last - first + 1, 2) }, (_, index) => first + index)
  })
  return { broker: String(allowed[0]), generator: String(allowed[1] ?? allowed[0]) }
}
