// Topic Names (chapter 4.7): what may be published to.

const slash = 0x2f
const plus = 0x2b
const hash = 0x23

/** Whether the bytes hold a wildcard character, which a Topic Name must not. [MQTT-3.3.2-2] */
export function hasWildcardByte(bytes: Uint8Array, start: number, end: number): boolean {
  for (let index = start; index < end; index++) {
    const byte = bytes[index]
    if (byte === plus || byte === hash) return true
  }
  return false
}

export function countLevelBytes(bytes: Uint8Array, start: number, end: number): number {
  let levels = 1
  for (let index = start; index < end; index++) if (bytes[index] === slash) levels++
  return levels
}

/** Whether `topic` may stand in a PUBLISH: not empty, no wildcard, no U+0000, 65535 bytes at most. [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3] */
export function isValidTopicName(topic: string): boolean {
  if (topic === '' || topic.includes('+') || topic.includes('#') || topic.includes('\0')) return false
  return topic.isWellFormed() && Buffer.byteLength(topic) <= 0xffff
}

/** Topics that only the broker itself publishes to. */
export function isReservedTopicName(topic: string): boolean {
  if (topic.charCodeAt(0) !== 0x24) return false
  const end = topic.indexOf('/')
  const first = end === -1 ? topic : topic.slice(0, end)
  return first === '$SYS' || first === '$CONTROL' || first === '$share' || first === '$atoll'
}

export function countLevels(topic: string): number {
  let levels = 1
  for (let at = topic.indexOf('/'); at !== -1; at = topic.indexOf('/', at + 1)) levels++
  return levels
}
