// Topic Filters and Shared Subscription filters (chapters 4.7 and 4.8): syntax and matching. No regular expressions, no
// recursion: filters come from peers.

/** [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3] */
export function isValidTopicFilter(filter: string): boolean {
  if (filter === '' || filter.includes('\0') || !filter.isWellFormed() || Buffer.byteLength(filter) > 0xffff)
    return false
  for (let at = 0; at < filter.length; at++) {
    const character = filter.charCodeAt(at)
    if (character !== 0x2b && character !== 0x23) continue
    if (at > 0 && filter.charCodeAt(at - 1) !== 0x2f) return false
    if (character === 0x23 ? at + 1 !== filter.length : at + 1 < filter.length && filter.charCodeAt(at + 1) !== 0x2f) {
      return false
    }
  }
  return true
}

export function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#')
}

/** About what a Subscription to this filter holds in memory for the filter's sake, in bytes: each level is a node of a tree. */
export function filterBytes(filter: string): number {
  if (!hasWildcard(filter)) return filter.length
  let bytes = filter.length
  for (let at = 0; at !== -1; at = filter.indexOf('/', at + 1)) bytes += 128
  return bytes
}

export interface SharedFilter {
  shareName: string
  filter: string
}

/** Whether this is meant as a Shared Subscription, well-formed or not. */
export function isSharedFilter(filter: string): boolean {
  return filter.startsWith('$share/') || filter === '$share'
}

/** `$share/name/filter` in its parts, or null when it is malformed. [MQTT-4.8.2-1] [MQTT-4.8.2-2] */
export function parseSharedFilter(text: string): SharedFilter | null {
  const nameEnd = text.indexOf('/', 7)
  if (!text.startsWith('$share/') || nameEnd <= 7) return null
  const shareName = text.slice(7, nameEnd)
  const filter = text.slice(nameEnd + 1)
  if (shareName.includes('+') || shareName.includes('#') || !isValidTopicFilter(filter)) return null
  return { shareName, filter }
}

/** Whether a valid filter matches a valid topic name. [MQTT-4.7.2-1] [MQTT-4.7.3-4] */
export function matchesFilter(filter: string, topic: string): boolean {
  const first = filter.charCodeAt(0)
  if (topic.charCodeAt(0) === 0x24 && (first === 0x2b || first === 0x23)) return false
  let filterAt = 0
  let topicAt = 0
  for (;;) {
    const filterCharacter = filter.charCodeAt(filterAt)
    if (filterCharacter === 0x23) return true
    const filterEnd = levelEnd(filter, filterAt)
    const topicEnd = levelEnd(topic, topicAt)
    if (filterCharacter !== 0x2b) {
      if (filterEnd - filterAt !== topicEnd - topicAt) return false
      for (let offset = 0; filterAt + offset < filterEnd; offset++) {
        if (filter.charCodeAt(filterAt + offset) !== topic.charCodeAt(topicAt + offset)) return false
      }
    }
    if (topicEnd === topic.length) {
      // `a/#` also matches `a`, the parent level.
      return (
        filterEnd === filter.length || (filter.charCodeAt(filterEnd + 1) === 0x23 && filterEnd + 2 === filter.length)
      )
    }
    if (filterEnd === filter.length) return false
    filterAt = filterEnd + 1
    topicAt = topicEnd + 1
  }
}

function levelEnd(text: string, from: number): number {
  const end = text.indexOf('/', from)
  return end === -1 ? text.length : end
}
