// What AtollMQ wants to reach. `kind: 'ratio'` counts in units of Mosquitto 2.0.11 in the same run over TCP, `value` in the figure's own unit.
// `floor` must be held by every release, `aim` is where the work is going.
export const targets = [
  { scenario: 'pair', figure: 'perCpuSecond', kind: 'ratio', floor: 7, aim: 10 },
  { scenario: 'fan-in', figure: 'perCpuSecond', kind: 'ratio', floor: 7, aim: 11 },
  { scenario: 'fan-out', figure: 'perCpuSecond', kind: 'ratio', floor: 20, aim: 40 },
  { scenario: 'pair-qos1', figure: 'perCpuSecond', kind: 'ratio', floor: 5, aim: 10 },
  { scenario: 'fan-in-qos1', figure: 'perCpuSecond', kind: 'ratio', floor: 6, aim: 12 },
  { scenario: 'fan-out-qos1', figure: 'perCpuSecond', kind: 'ratio', floor: 8, aim: 18 },
  { scenario: 'pair-qos2', figure: 'perCpuSecond', kind: 'ratio', floor: 6, aim: 12 },
  { scenario: 'single', figure: 'perCpuSecond', kind: 'ratio', floor: 1.5, aim: 2 },
  { scenario: 'round-trip', figure: 'wallPerSecond', kind: 'ratio', floor: 0.9, aim: 1 },
  { scenario: 'latency', figure: 'p50Micros', kind: 'value', floor: 12, aim: 8 },
  { scenario: 'subscriptions', figure: 'perCpuSecond', kind: 'ratio', floor: 4, aim: 6 },
  { scenario: 'subscriptions', figure: 'bytesPerSubscription', kind: 'value', floor: 200, aim: 120 },
  { scenario: 'subscriptions-1m', figure: 'bytesPerSubscription', kind: 'value', floor: 200, aim: 120 },
  { scenario: 'retained', figure: 'storesPerCpuSecond', kind: 'ratio', floor: 4, aim: 7 },
  { scenario: 'retained', figure: 'deliveriesPerCpuSecond', kind: 'ratio', floor: 1, aim: 1.3 },
  { scenario: 'connect', figure: 'connectsPerCpuSecond', kind: 'ratio', floor: 0.35, aim: 0.6 },
  { scenario: 'connect', figure: 'idleRssBytes', kind: 'value', floor: 7 * 1024, aim: 4.5 * 1024 },
  { scenario: 'storm', figure: 'stormSeconds', kind: 'value', floor: 0.07, aim: 0.03 },
  { scenario: 'stopped', figure: 'othersShare', kind: 'value', floor: 0.8, aim: 0.95 },
  { scenario: 'durable-qos1', broker: 'atoll-fsync', figure: 'perCpuSecond', kind: 'ratio', floor: 1, aim: 4 },
  { scenario: 'empty', figure: 'readyMs', kind: 'value', floor: 500, aim: 250 },
  { scenario: 'empty', figure: 'pssBytes', kind: 'value', floor: 50 * 2 ** 20, aim: 40 * 2 ** 20 },
]

// User + kernel instructions that one delivered message may cost AtollMQ.
export const instructionBudgets = {
  pair: 4_500,
  robin: 4_500,
  single: 16_000,
  'robin-qos1': 8_000,
  'pair-qos1': 8_000,
  'round-trip': 40_000,
}
