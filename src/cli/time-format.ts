// The part of strftime(3) that output formats use, in local time.

/** `+0100`. */
export function formatOffset(time: Date): string {
  const minutes = -time.getTimezoneOffset()
  const sign = minutes < 0 ? '-' : '+'
  return sign + digits(Math.trunc(Math.abs(minutes) / 60), 2) + digits(Math.abs(minutes) % 60, 2)
}

/** What strftime makes of `%letter`, and N for nanoseconds; null for a letter that is not supported. */
export function formatTime(letter: string, time: Date): string | null {
  switch (letter) {
    case 'Y':
      return String(time.getFullYear())
    case 'y':
      return digits(time.getFullYear() % 100, 2)
    case 'm':
      return digits(time.getMonth() + 1, 2)
    case 'd':
      return digits(time.getDate(), 2)
    case 'H':
      return digits(time.getHours(), 2)
    case 'M':
      return digits(time.getMinutes(), 2)
    case 'S':
      return digits(time.getSeconds(), 2)
    case 'N':
      return digits(time.getMilliseconds(), 3) + '000000'
    case 'F':
      return [formatTime('Y', time), formatTime('m', time), formatTime('d', time)].join('-')
    case 'T':
      return [formatTime('H', time), formatTime('M', time), formatTime('S', time)].join(':')
    case 'j':
      return digits(dayOfYear(time), 3)
    case 's':
      return String(Math.floor(time.getTime() / 1000))
    case 'z':
      return formatOffset(time)
    default:
      return null
  }
}

function dayOfYear(time: Date): number {
  const today = Date.UTC(time.getFullYear(), time.getMonth(), time.getDate())
  return (today - Date.UTC(time.getFullYear(), 0, 0)) / 86_400_000
}

function digits(value: number, count: number): string {
  return String(value).padStart(count, '0')
}
