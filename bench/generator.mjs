// The C load generator: compiled when its source has changed, run on its own core, its lines of JSON read.
// It must not know scenarios; it passes options on and hands the result back.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { programPath } from './brokers.mjs'

const source = fileURLToPath(new URL('load/load.c', import.meta.url))
const cache = fileURLToPath(new URL('../build/bench/', import.meta.url))
const RUN_TIMEOUT_MS = 180_000

/** The path of the compiled generator. Fails with what to install. */
export const compileGenerator = () => {
  if (process.platform !== 'linux') {
    throw new Error(
      `the load generator needs Linux (epoll, CPU clocks of other processes); this is ${process.platform}`,
    )
  }
  const digest = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 12)
  const target = `${cache}load-${digest}`
  if (existsSync(target)) return target
  const compiler = programPath('cc') ?? programPath('gcc') ?? programPath('clang')
  if (!compiler) {
    throw new Error(
      'no C compiler found: the load generator is written in C. Install one, e.g. apt-get install gcc libc6-dev',
    )
  }
  mkdirSync(cache, { recursive: true })
  const unfinished = `${target}.${process.pid}`
  const { status, stderr } = spawnSync(compiler, ['-O2', '-o', unfinished, source], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${compiler} could not compile ${source}:\n${stderr}`)
  renameSync(unfinished, target)
  return target
}

/** { perWrite: 16, spin: true } → ['--per-write', '16', '--spin'] */
export const toArguments = (options) =>
  Object.entries(options).flatMap(([key, value]) => {
    const name = `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
    if (value === undefined || value === false) return []
    return value === true ? [name] : [name, String(value)]
  })

/** @param core undefined for any; @param nice of the process, below 0 only as root */
export const spawnGenerator = (program, core, mode, options, nice = 0) => {
  const taskset = programPath('taskset')
  const bound = taskset && core !== undefined ? [taskset, '-c', core] : []
  const [command, ...rest] = [...bound, ...(nice ? ['nice', '-n', nice] : []), program, mode, ...toArguments(options)]
  return spawn(command, rest, { stdio: ['pipe', 'pipe', 'pipe'] })
}

/**
 * One run. `onHold(what)` is awaited while the generator waits with everything open.
 * Returns the result object of the generator; fails with its message.
 */
export const runGenerator = async (program, core, mode, options, onHold, nice) => {
  const child = spawnGenerator(program, core, mode, options, nice)
  let result
  let problem = ''
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    child.kill('SIGKILL')
  }, RUN_TIMEOUT_MS)
  child.stdin.on('error', () => {})
  child.stderr.on('data', (chunk) => {
    problem += chunk
  })
  const closed = new Promise((resolve) => child.once('close', resolve))
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line)
    if (event.event === 'result') result = event
    else if (event.event === 'error') problem += event.message
    else {
      await onHold?.(event.what)
      child.stdin.write('\n')
    }
  }
  await closed
  clearTimeout(timer)
  if (isLate) throw new Error(`no result after ${RUN_TIMEOUT_MS / 1000} s`)
  if (!result) throw new Error(problem.trim() || 'the load generator ended without a result')
  if (problem) result.problem = problem.trim()
  return result
}
