// Runs one test for every protocol version and transport it holds for. Knows nothing of what is tested.
//
//   forEachVariant(({ level, transport, name }) => { test(`… (${name})`, …) })
//   variantTest('[MQTT-3.12.4-1] …', { levels: [5], broker: { limits: … } }, async ({ client, connect, level }) => {
//     const a = await client({ clientId: 'a' })     // connected at this variant's level over its transport
//     const b = await connect()                     // raw connection, nothing sent yet
//   })
// Statements of MQTT 5 alone: levels: [5] (still over both transports). Default: all levels, both transports.
import { test } from 'node:test'
import { type BrokerOptions, type BrokerUnderTest, type TransportName, withBroker } from './broker.ts'
import type { RawClient } from './raw-client.ts'
import type { ConnectOptions, Level } from './wire.ts'

export interface Variant {
  level: Level
  transport: TransportName
  /** `v3.1.1 over unix` */
  name: string
}

export interface VariantSelection {
  levels?: Level[]
  transports?: TransportName[]
}

const LEVEL_NAMES = { 3: 'v3.1', 4: 'v3.1.1', 5: 'v5' }

export function forEachVariant(body: (variant: Variant) => void, selection: VariantSelection = {}): void {
  for (const level of selection.levels ?? ([3, 4, 5] as const)) {
    for (const transport of selection.transports ?? (['tcp', 'unix'] as const)) {
      body({ level, transport, name: `${LEVEL_NAMES[level]} over ${transport}` })
    }
  }
}

export interface VariantContext extends Variant {
  broker: BrokerUnderTest
  /** A connection at this variant's level over its transport; nothing sent yet. */
  connect(): Promise<RawClient>
  /** The same, after an accepted handshake. */
  client(options?: ConnectOptions): Promise<RawClient>
}

/** Registers one test per variant, each with a broker of its own. */
export function variantTest(
  name: string,
  selection: VariantSelection & { broker?: BrokerOptions },
  body: (context: VariantContext) => Promise<void>,
): void {
  forEachVariant((variant) => {
    test(`${name} (${variant.name})`, () =>
      withBroker(selection.broker ?? {}, (broker) =>
        body({
          ...variant,
          broker,
          connect: () => broker.connect(variant),
          client: (options) => broker.client(options, variant),
        }),
      ))
  }, selection)
}
