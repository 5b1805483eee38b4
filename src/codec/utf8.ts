// UTF-8 Encoded Strings as MQTT allows them (chapter 1.5.4), checked in place without making a string.

/**
 * Whether bytes [start, end) are well-formed UTF-8 without U+0000 and without surrogates.
 * [MQTT-1.5.4-1] [MQTT-1.5.4-2]
 */
export function isValidUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  let position = start
  while (position < end) {
    const lead = bytes[position++]
    if (lead < 0x80) {
      if (lead === 0) return false
      continue
    }
    let continuation: number
    let lowest = 0x80
    let highest = 0xbf
    if (lead >= 0xc2 && lead <= 0xdf) continuation = 1
    else if (lead >= 0xe0 && lead <= 0xef) {
      continuation = 2
      if (lead === 0xe0) lowest = 0xa0
      else if (lead === 0xed) highest = 0x9f // U+D800 to U+DFFF
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      continuation = 3
      if (lead === 0xf0) lowest = 0x90
      else if (lead === 0xf4) highest = 0x8f
    } else return false
    if (position + continuation > end) return false
    const second = bytes[position]
    if (second < lowest || second > highest) return false
    for (let index = 1; index < continuation; index++) {
      if ((bytes[position + index] & 0xc0) !== 0x80) return false
    }
    position += continuation
  }
  return true
}
