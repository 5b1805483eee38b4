// Moments for people: `readySinceMs: 1795316069849` is `readySince: 2026-11-22T02:54:29.849Z`. Programs get the number.

export function readableTimes(row: object): [name: string, value: unknown][] {
  return Object.entries(row).map(([name, value]) =>
    /(Since|At)Ms$/.test(name) && (typeof value === 'number' || value === null)
      ? [name.slice(0, -'Ms'.length), value === null ? null : new Date(value).toISOString()]
      : [name, value],
  )
}
