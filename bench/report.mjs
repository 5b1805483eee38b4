// Turns the runs into tables: ratios to Mosquitto beside the targets, what a message costs, what went wrong.
import { median } from './measure.mjs'
import { figures, scenarios } from './scenarios.mjs'
import { instructionBudgets, targets } from './targets.mjs'

const BASE = 'mosquitto'
const SUBJECT = 'atoll'

const short = (value) => {
  if (value >= 9.995e6) return `${(value / 1e6).toFixed(1)}M`
  if (value >= 999_500) return `${(value / 1e6).toFixed(2)}M`
  if (value >= 9_995) return `${Math.round(value / 1e3)}k`
  if (value >= 1_000) return `${(value / 1e3).toFixed(1)}k`
  return `${Math.round(value)}`
}

const bytes = (value) => {
  if (Math.abs(value) >= 2 ** 20) return `${(value / 2 ** 20).toFixed(1)} MiB`
  if (Math.abs(value) >= 4_096) return `${(value / 1024).toFixed(1)} KiB`
  return `${Math.round(value)} B`
}

const write = {
  count: short,
  B: bytes,
  µs: (value) => `${value.toFixed(1)} µs`,
  ms: (value) => `${Math.round(value)} ms`,
  s: (value) => `${value.toFixed(3)} s`,
  share: (value) => `${Math.round(value * 100)} %`,
}

const asRatio = (value) => `${value >= 9.95 ? value.toFixed(1) : value.toFixed(2)}x`

const shown = (value, text) => (Number.isFinite(value) ? text(value) : '–')

/** Medians of one scenario, transport and broker: { figure: number }, and how far the headline's runs lie apart. */
const medians = (runs, scenario, transport, broker) => {
  const mine = runs.filter(
    (run) => run.scenario === scenario.name && run.transport === transport && run.broker === broker,
  )
  const keys = new Set(mine.flatMap((run) => Object.keys(run.figures ?? {})))
  const result = {}
  for (const key of keys) result[key] = median(mine.map((run) => run.figures?.[key]))
  const heads = mine.map((run) => run.figures?.[scenario.headlines[0]]).filter(Number.isFinite)
  if (heads.length > 1) result.spread = (Math.max(...heads) - Math.min(...heads)) / median(heads)
  return result
}

const verdictOf = (target, figure, value, base) => {
  const reached = target.kind === 'value' ? value : figure.better === 'higher' ? value / base : base / value
  if (!Number.isFinite(reached)) return '–'
  const isLower = target.kind === 'value' && figure.better === 'lower'
  const holds = (limit) => (isLower ? reached <= limit : reached >= limit)
  if (holds(target.aim)) return 'aim met'
  return holds(target.floor) ? 'floor met' : 'MISSED'
}

const targetText = (target, limit, figure) => (target.kind === 'ratio' ? asRatio(limit) : write[figure.unit](limit))

const combinations = (runs) =>
  scenarios.flatMap((scenario) =>
    ['tcp', 'unix']
      .filter((transport) => runs.some((run) => run.scenario === scenario.name && run.transport === transport))
      .map((transport) => ({ scenario, transport })),
  )

/** Rows of { scenario, transport, figure, …cells }: the comparison with Mosquitto and with the targets. */
const comparison = (runs, brokers) => {
  const header = ['scenario', 'over', 'figure', ...brokers.map(({ title }) => title), 'floor', 'aim', 'verdict']
  const rows = combinations(runs).flatMap(({ scenario, transport }) => {
    const all = Object.fromEntries(brokers.map(({ name }) => [name, medians(runs, scenario, transport, name)]))
    return scenario.headlines.map((key) => {
      const figure = figures[key]
      const base = all[BASE]?.[key]
      const cells = brokers.map(({ name }) => {
        const value = all[name][key]
        const text = shown(value, write[figure.unit])
        if (name === BASE || !figure.ratio || !Number.isFinite(value) || !Number.isFinite(base)) return text
        return `${asRatio(figure.better === 'higher' ? value / base : base / value)} (${text})`
      })
      const target = transport === 'tcp' && targets.find((one) => one.scenario === scenario.name && one.figure === key)
      const ends = target
        ? [
            targetText(target, target.floor, figure),
            targetText(target, target.aim, figure),
            verdictOf(target, figure, all[target.broker ?? SUBJECT]?.[key], base),
          ]
        : ['', '', '']
      return [scenario.name, transport, figure.title, ...cells, ...ends]
    })
  })
  return { header, rows }
}

/** What one delivered message costs, and whether the generator or the broker was the limit. */
const costs = (runs, brokers) => {
  const header = [
    'scenario',
    'over',
    'broker',
    'messages/s',
    'instructions user',
    'kernel',
    'Mosquitto / this',
    'broker busy',
    'generator busy',
    'spread',
    'budget',
  ]
  const rows = combinations(runs).flatMap(({ scenario, transport }) => {
    const all = brokers.map(({ name, title }) => ({ name, title, ...medians(runs, scenario, transport, name) }))
    const total = (one) => (one?.userInstructions ?? NaN) + (one?.kernelInstructions ?? NaN)
    const base = total(all.find(({ name }) => name === BASE))
    return all
      .filter((one) => Number.isFinite(one.wallPerSecond))
      .map((one) => {
        const budget = one.name === SUBJECT ? instructionBudgets[scenario.name] : undefined
        return [
          scenario.name,
          transport,
          one.title,
          short(one.wallPerSecond),
          shown(one.userInstructions, short),
          shown(one.kernelInstructions, short),
          shown(base / total(one), asRatio),
          write.share(one.brokerBusy),
          write.share(one.generatorBusy),
          shown(one.spread, (value) => `±${Math.round(value * 50)} %`),
          budget === undefined
            ? ''
            : `${short(budget)}: ${total(one) <= budget ? 'kept' : total(one) > budget ? 'OVER' : '–'}`,
        ]
      })
  })
  return { header, rows }
}

const complaints = (runs) =>
  runs.flatMap((run) => {
    const where = `${run.scenario} over ${run.transport}, ${run.broker}`
    if (run.error) return [`${where}: failed: ${run.error}`]
    const found = []
    const { faults, sessionsMissing, generatorBusy, brokerBusy } = run.figures
    if (faults)
      found.push(`${where}: ${faults} messages lost, doubled, out of order or wrong (details in the JSON file)`)
    if (sessionsMissing) found.push(`${where}: ${sessionsMissing} sessions were not there when their client came back`)
    if (generatorBusy > 0.95 && brokerBusy < 0.8 && run.scenario !== 'round-trip' && run.scenario !== 'latency') {
      found.push(
        `${where}: the generator was the limit; messages/s are its own, messages per CPU second are the broker's`,
      )
    }
    return found
  })

const markdown = ({ header, rows }) =>
  [header, header.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')

const plain = ({ header, rows }) => {
  const lines = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...lines.map((row) => [...row[column]].length)))
  return lines
    .map((row) =>
      row
        .map((cell, column) => cell + ' '.repeat(widths[column] - [...cell].length))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** The whole report as Markdown (`isPlain` false) or for a terminal. */
export const report = (outcome, isPlain) => {
  const { runs, brokers, date, machine, options } = outcome
  const table = isPlain ? plain : markdown
  const heading = (text) => (isPlain ? `\n${text}\n` : `\n## ${text}\n`)
  const notes = [...new Set(complaints(runs))]
  const cost = costs(runs, brokers)
  const versions = brokers.map(({ title, version }) => `${title} ${version}`).join(', ')
  return [
    isPlain ? '' : '# Benchmark\n',
    `${date}: ${versions}; Node.js ${machine.node}, Linux ${machine.kernel}, ${machine.cores} cores. `,
    `${options.seconds} s per run, ${options.repeat} runs (median)${options.isQuick ? ', small sizes (--quick)' : ''}${options.isSpinning ? ', generator never sleeps (--spin)' : ''}, MQTT ${options.mqtt === 5 ? '5' : '3.1.1'}, payload 64 bytes. bench/README.md says how to read it.`,
    heading('Against Mosquitto'),
    table(comparison(runs, brokers)),
    cost.rows.length ? `${heading('Cost of one delivered message')}\n${table(cost)}` : '',
    notes.length ? `${heading('To note')}\n${notes.map((note) => `- ${note}`).join('\n')}` : '',
    '',
  ].join('\n')
}

/** One line while it runs. */
export const progressLine = (run) => {
  const { headlines } = scenarios.find(({ name }) => name === run.scenario)
  if (run.error) return `failed: ${run.error}`
  return headlines.map((key) => `${shown(run.figures[key], write[figures[key].unit])} ${figures[key].title}`).join(', ')
}
