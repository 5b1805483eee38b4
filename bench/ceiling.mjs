// The limit of the generator itself: it drives its own reflector, a broker that looks nothing up, on the broker's core.
// It must not know the real brokers: what it shows is how much of their figures can be the generator's doing.
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './brokers.mjs'
import { runGenerator, spawnGenerator } from './generator.mjs'
import { cores } from './measure.mjs'

/** Prints messages/s of each flow against the reflector, and how busy both sides were. */
export const measureCeiling = async (options, program) => {
  const core = cores()
  const folder = await mkdtemp(join(tmpdir(), 'atoll-bench-'))
  process.stdout.write('scenario      over  messages/s  reflector busy  generator busy  faults\n')
  try {
    for (const { name, ceiling, transports } of options.chosen.filter((scenario) => scenario.ceiling)) {
      for (const transport of options.transport ? [options.transport] : transports) {
        const connect =
          transport === 'tcp' ? `tcp:127.0.0.1:${await freePort()}` : `unix:${join(folder, `${name}.sock`)}`
        const reflector = spawnGenerator(program, core.broker, 'reflect', { ...ceiling, latency: false, connect })
        const ended = once(reflector, 'close')
        try {
          const [line] = await once(reflector.stdout, 'data')
          if (JSON.parse(line).event !== 'listening') throw new Error(`the reflector did not start: ${line}`)
          const { seconds, warmup } = options
          const given = { spin: options.isSpinning, ...ceiling, connect, pid: reflector.pid, seconds, warmup }
          const { flow, lost, duplicated, outOfOrder, misrouted, corrupt } = await runGenerator(
            program,
            core.generator,
            'flow',
            given,
          )
          const busy = (cpuSeconds) => `${Math.round((cpuSeconds / flow.seconds) * 100)} %`
          const cells = [
            name.padEnd(13),
            transport.padEnd(5),
            `${Math.round(flow.count / flow.seconds / 1000)}k`.padStart(10),
            busy(flow.brokerCpuSeconds).padStart(15),
            busy(flow.ownCpuSeconds).padStart(15),
            String(lost + duplicated + outOfOrder + misrouted + corrupt).padStart(7),
          ]
          process.stdout.write(`${cells.join(' ')}\n`)
        } finally {
          reflector.kill('SIGKILL')
          await ended
        }
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
