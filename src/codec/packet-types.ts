// MQTT Control Packet types and protocol levels (chapters 2.1.2 and 3.1.2.2).

export const PacketType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const

export type Qos = 0 | 1 | 2

/** 3 is MQTT 3.1 ("MQIsdp"), 4 is 3.1.1, 5 is 5. */
export type ProtocolLevel = 3 | 4 | 5

export const protocolVersionNames = { 3: '3.1', 4: '3.1.1', 5: '5' } as const

const names = Object.entries(PacketType).reduce<string[]>((all, [name, type]) => {
  all[type] = name.toUpperCase()
  return all
}, [])

export function packetTypeName(type: number): string {
  return names[type] ?? `packet type ${type}`
}

/** [MQTT-2.1.3-1]: the flags nibble of every packet but PUBLISH is fixed. */
export function requiredFlags(type: number): number {
  return type === PacketType.pubrel || type === PacketType.subscribe || type === PacketType.unsubscribe ? 2 : 0
}
