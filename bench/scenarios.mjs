// The scenarios: what is asked of the generator, which figures come out of its answer.
// It must not know brokers, repeats or targets.
import { memoryOf, settledMemoryOf } from './measure.mjs'

const BOTH = ['tcp', 'unix']
const TCP = ['tcp']

const perCpuSecond = (span) => span.count / span.brokerCpuSeconds

const faults = (result) =>
  result.lost +
  result.duplicated +
  result.outOfOrder +
  result.misrouted +
  result.corrupt +
  result.refused +
  result.stalls

/** What every span of messages tells; instructions only where the kernel lets them be counted. */
const spanFigures = (span, result) => ({
  perCpuSecond: perCpuSecond(span),
  wallPerSecond: span.count / span.seconds,
  userInstructions: span.userInstructions < 0 ? undefined : span.userInstructions / span.count,
  kernelInstructions: span.kernelInstructions < 0 ? undefined : span.kernelInstructions / span.count,
  brokerBusy: span.brokerCpuSeconds / span.seconds,
  generatorBusy: span.ownCpuSeconds / span.seconds,
  faults: faults(result),
})

const flow = (options) => async (run) => {
  const { seconds, warmup } = run
  const result = await run.generate('flow', { ...options, seconds, warmup })
  const figures = spanFigures(result.flow, result)
  const latency = result.latencyMicros // of messages, or of acknowledgements
  return latency ? { ...figures, p50Micros: latency.p50, p99Micros: latency.p99 } : figures
}

const flows = [
  {
    name: 'pair',
    letter: 'A',
    isQuickOverUnix: true,
    title: '4 publishers to 4 subscribers, QoS 0',
    transports: BOTH,
    options: { pubs: 4, subs: 4, topics: 4, perWrite: 16, window: 512 },
  },
  {
    name: 'robin',
    letter: 'B',
    title: '4 publishers round 16 topics, 16 subscribers',
    transports: BOTH,
    options: { pubs: 4, subs: 16, topics: 16, publish: 'robin', perWrite: 16, window: 512 },
  },
  {
    name: 'single',
    letter: 'C',
    title: '8 publishers, one message per segment',
    transports: BOTH,
    options: { pubs: 8, subs: 16, topics: 16, publish: 'robin', perWrite: 1, window: 256 },
  },
  {
    name: 'robin-qos1',
    letter: 'D',
    title: 'robin with QoS 1 both ways',
    transports: BOTH,
    options: { pubs: 4, subs: 16, topics: 16, publish: 'robin', qos: 1, perWrite: 16, window: 250 },
  },
  {
    name: 'wildcard',
    letter: 'E',
    title: '1 publisher to 20 wildcard subscribers',
    transports: TCP,
    options: { pubs: 1, subs: 20, topics: 1, subscribe: 'wild', perWrite: 16, window: 256 },
  },
  {
    name: 'pair-qos1',
    title: 'pair, QoS 1',
    transports: TCP,
    options: { pubs: 4, subs: 4, topics: 4, qos: 1, perWrite: 16, window: 250 },
  },
  {
    name: 'pair-qos2',
    title: 'pair, QoS 2',
    transports: TCP,
    options: { pubs: 4, subs: 4, topics: 4, qos: 2, perWrite: 16, window: 250 },
  },
  {
    name: 'fan-out',
    title: 'fan-out 1 to 50, QoS 0',
    transports: TCP,
    options: { pubs: 1, subs: 50, topics: 1, perWrite: 16, window: 256 },
  },
  {
    name: 'fan-out-qos1',
    title: 'fan-out 1 to 50, QoS 1',
    transports: TCP,
    options: { pubs: 1, subs: 50, topics: 1, qos: 1, perWrite: 16, window: 256 },
  },
  {
    name: 'fan-in',
    title: 'fan-in 50 to 1, QoS 0',
    transports: TCP,
    options: { pubs: 50, subs: 1, topics: 50, subscribe: 'wild', perWrite: 16, window: 64 },
  },
  {
    name: 'fan-in-qos1',
    title: 'fan-in 50 to 1, QoS 1',
    transports: TCP,
    options: { pubs: 50, subs: 1, topics: 50, subscribe: 'wild', qos: 1, perWrite: 16, window: 20 },
  },
  {
    name: 'round-trip',
    letter: 'F',
    isQuickOverUnix: true,
    title: 'one message in flight',
    transports: BOTH,
    headline: 'wallPerSecond',
    options: { window: 1, spin: true, latency: true },
  },
].map(({ options, headline = 'perCpuSecond', ...scenario }) => ({
  ...scenario,
  headlines: headline === 'wallPerSecond' ? ['wallPerSecond', 'p50Micros'] : [headline],
  ceiling: options,
  measure: flow(options),
}))

const latency = {
  name: 'latency',
  title: 'one way at 10 000 messages/s',
  transports: BOTH,
  headlines: ['p50Micros', 'p99Micros'],
  measure: flow({ rate: 10_000, spin: true, latency: true }),
}

const connect = {
  name: 'connect',
  title: 'connections that stay idle',
  transports: BOTH,
  headlines: ['connectsPerCpuSecond', 'idleRssBytes'],
  measure: async (run) => {
    const count = run.isQuick ? 2_000 : 10_000
    const before = await memoryOf(run.pids)
    let after
    const result = await run.generate('connect', { count, hold: 'connected' }, async () => {
      after = await settledMemoryOf(run.pids)
    })
    return {
      connectsPerCpuSecond: perCpuSecond(result.connect),
      connectsPerSecond: count / result.connect.seconds,
      idleRssBytes: (after.rssBytes - before.rssBytes) / count,
      idlePssBytes: (after.pssBytes - before.pssBytes) / count,
      faults: faults(result),
    }
  },
}

/** A hundred subscribers share the filters; a message is due to one exact, one + and one # subscription. */
const subscriptions = (filters, hasFlow) => async (run) => {
  const groups = Math.round((run.isQuick ? filters / 5 : filters) / 100)
  const before = await memoryOf(run.pids)
  let after
  const options = {
    pubs: 2,
    subs: 100,
    topics: groups * 90,
    subscribe: 'mix',
    publish: 'robin',
    perWrite: 16,
    window: 512,
    seconds: hasFlow ? run.seconds : 0,
    warmup: run.warmup,
    hold: 'subscribed',
  }
  const result = await run.generate('flow', options, async () => {
    after = await settledMemoryOf(run.pids)
  })
  const figures = {
    bytesPerSubscription: (after.rssBytes - before.rssBytes) / result.subscribe.count,
    subscribesPerCpuSecond: perCpuSecond(result.subscribe),
    faults: faults(result),
  }
  return hasFlow ? { ...spanFigures(result.flow, result), ...figures } : figures
}

const retained = async (run) => {
  const count = run.isQuick ? 20_000 : 100_000
  const before = await memoryOf(run.pids)
  let after
  const result = await run.generate(
    'retained',
    { count, rounds: 2, window: 500, perWrite: 16, hold: 'stored' },
    async () => {
      after = await settledMemoryOf(run.pids)
    },
  )
  return {
    storesPerCpuSecond: perCpuSecond(result.store),
    deliveriesPerCpuSecond: perCpuSecond(result.deliver),
    deliveriesPerSecond: result.deliver.count / result.deliver.seconds,
    bytesPerRetained: (after.rssBytes - before.rssBytes) / count,
    faults: faults(result),
  }
}

const storm = async (run) => {
  const options = { subs: run.isQuick ? 200 : 1_000, count: 10, rounds: 3, window: 500, perWrite: 16 }
  const result = await run.generate('storm', options)
  const storms = [result.storm0, result.storm1, result.storm2].sort((a, b) => a.seconds - b.seconds)
  const middle = storms[1]
  return {
    stormSeconds: middle.seconds,
    stormCpuSeconds: middle.brokerCpuSeconds,
    sessionsMissing: result.sessionsMissing,
    faults: faults(result),
  }
}

// The same broker twice: first without, then with a subscriber of everything that never reads again.
const stopped = async (run) => {
  const options = { pubs: 4, subs: 4, topics: 4, perWrite: 16, window: 512, seconds: run.seconds, warmup: run.warmup }
  const without = await run.generate('flow', options)
  const before = await memoryOf(run.pids)
  const beside = await run.generate('flow', { ...options, stopped: 1 })
  const after = await memoryOf(run.pids)
  return {
    othersShare: beside.flow.count / beside.flow.seconds / (without.flow.count / without.flow.seconds),
    othersCpuShare: perCpuSecond(beside.flow) / perCpuSecond(without.flow),
    peakBytes: after.peakBytes,
    growthBytes: after.peakBytes - before.peakBytes,
    faults: faults(beside),
  }
}

const empty = async (run) => {
  const { pssBytes, rssBytes } = await settledMemoryOf(run.pids)
  return { readyMs: run.readyMs, pssBytes, rssBytes, faults: 0 }
}

const pairs = { pubs: 4, subs: 4, topics: 4, perWrite: 16, window: 250, persistent: true }

/** Ten sessions are away while `messages` are stored for them at QoS 1, then they come back. */
const offline = (messages) => async (run) => {
  const count = (run.isQuick ? messages / 5 : messages) / 10
  const before = await memoryOf(run.pids)
  let after
  const options = { subs: 10, count, rounds: 1, window: 500, perWrite: 16, hold: 'queued' }
  const { storm0, store0, ...result } = await run.generate('storm', options, async () => {
    after = await settledMemoryOf(run.pids)
  })
  return {
    storesPerCpuSecond: perCpuSecond(store0),
    storesPerSecond: store0.count / store0.seconds,
    bytesPerQueued: (after.anonymousBytes - before.anonymousBytes) / store0.count,
    deliveriesPerCpuSecond: perCpuSecond(storm0),
    drainPerSecond: storm0.count / storm0.seconds,
    sessionsMissing: result.sessionsMissing,
    faults: faults(result),
  }
}

// Brokers that write to the disk beside themselves without it. Sessions are persistent; subscribers are online unless it says otherwise.
const durable = [
  {
    name: 'durable-qos1',
    title: 'pair, QoS 1, persistent sessions',
    headlines: ['perCpuSecond', 'wallPerSecond'],
    measure: flow({ ...pairs, qos: 1 }),
  },
  {
    name: 'durable-qos2',
    title: 'pair, QoS 2, persistent sessions',
    headlines: ['perCpuSecond', 'wallPerSecond'],
    measure: flow({ ...pairs, qos: 2 }),
  },
  ...[1, 10, 50].map((thousands) => ({
    name: `ack-${thousands}k`,
    title: `PUBLISH to PUBACK, ${thousands} 000 messages/s at even intervals`,
    headlines: ['p50Micros', 'p99Micros', 'perCpuSecond'],
    measure: flow({ rate: thousands * 1_000, spin: true, ackLatency: true, qos: 1, persistent: true }),
  })),
  ...[
    ['offline', 100_000],
    ['offline-1m', 1_000_000],
  ].map(([name, messages]) => ({
    name,
    title: `${messages} messages wait for 10 sessions`,
    once: true,
    isSlow: messages === 1_000_000,
    without: ['mosquitto-disk'], // the whole queue for every few messages: minutes
    headlines: ['storesPerCpuSecond', 'storesPerSecond', 'bytesPerQueued', 'deliveriesPerCpuSecond', 'drainPerSecond'],
    measure: offline(messages),
  })),
].map((scenario) => ({ ...scenario, set: 'durable', transports: TCP }))

/** In the order in which they run. `set`: they run only when asked for. `once`: too long, or too steady, to be repeated. */
export const scenarios = [
  ...flows,
  latency,
  connect,
  {
    name: 'subscriptions',
    title: '100 000 subscriptions, 90 % exact, 9 % +, 1 % #',
    transports: TCP,
    once: true,
    headlines: ['perCpuSecond', 'bytesPerSubscription'],
    measure: subscriptions(100_000, true),
  },
  {
    name: 'subscriptions-1m',
    title: '1 000 000 subscriptions',
    transports: TCP,
    once: true,
    isSlow: true,
    headlines: ['bytesPerSubscription', 'subscribesPerCpuSecond'],
    measure: subscriptions(1_000_000, false),
  },
  {
    name: 'retained',
    title: '100 000 retained messages',
    transports: TCP,
    once: true,
    headlines: ['storesPerCpuSecond', 'deliveriesPerCpuSecond', 'bytesPerRetained'],
    measure: retained,
  },
  {
    name: 'storm',
    title: '1 000 sessions, 10 messages waiting for each, all come back',
    transports: TCP,
    once: true,
    headlines: ['stormSeconds', 'stormCpuSeconds'],
    measure: storm,
  },
  {
    name: 'stopped',
    title: 'pair beside a subscriber that stopped reading',
    transports: TCP,
    once: true,
    headlines: ['othersShare', 'growthBytes'],
    measure: stopped,
  },
  {
    name: 'empty',
    title: 'a broker that has just started',
    transports: TCP,
    headlines: ['readyMs', 'pssBytes'],
    measure: empty,
  },
  ...durable,
]

/** How a figure is called, written and judged. `ratio`: it is compared with Mosquitto's. */
export const figures = {
  perCpuSecond: { title: 'messages per broker CPU second', unit: 'count', better: 'higher', ratio: true },
  wallPerSecond: { title: 'messages/s', unit: 'count', better: 'higher', ratio: true },
  p50Micros: { title: 'p50', unit: 'µs', better: 'lower', ratio: true },
  p99Micros: { title: 'p99', unit: 'µs', better: 'lower', ratio: true },
  connectsPerCpuSecond: { title: 'connections per broker CPU second', unit: 'count', better: 'higher', ratio: true },
  idleRssBytes: { title: 'RSS per idle connection', unit: 'B', better: 'lower', ratio: true },
  bytesPerSubscription: { title: 'RSS per subscription', unit: 'B', better: 'lower', ratio: true },
  subscribesPerCpuSecond: {
    title: 'subscriptions added per broker CPU second',
    unit: 'count',
    better: 'higher',
    ratio: true,
  },
  storesPerCpuSecond: { title: 'stored per broker CPU second', unit: 'count', better: 'higher', ratio: true },
  deliveriesPerCpuSecond: { title: 'delivered per broker CPU second', unit: 'count', better: 'higher', ratio: true },
  storesPerSecond: { title: 'stored/s', unit: 'count', better: 'higher', ratio: true },
  drainPerSecond: { title: 'delivered/s', unit: 'count', better: 'higher', ratio: true },
  bytesPerQueued: { title: 'memory of its own per waiting message', unit: 'B', better: 'lower', ratio: true },
  bytesPerRetained: { title: 'RSS per retained message', unit: 'B', better: 'lower', ratio: true },
  stormSeconds: { title: 'until all is received', unit: 's', better: 'lower', ratio: true },
  stormCpuSeconds: { title: 'broker CPU until all is received', unit: 's', better: 'lower', ratio: true },
  othersShare: {
    title: "the others' rate, share of the rate without it",
    unit: 'share',
    better: 'higher',
    ratio: false,
  },
  growthBytes: { title: 'growth of the peak memory', unit: 'B', better: 'lower', ratio: false },
  readyMs: { title: 'from start to the first CONNACK', unit: 'ms', better: 'lower', ratio: true },
  pssBytes: { title: 'PSS', unit: 'B', better: 'lower', ratio: true },
}
