// What `import … from 'atollmq/testing'` gives: brokers for tests, without a port and with a clock to crank by hand.

export { ManualClock } from '../base/clock.ts'
export { FaultDisk } from '../storage/memory-store.ts'
export { createMemoryPair } from './memory-pair.ts'
