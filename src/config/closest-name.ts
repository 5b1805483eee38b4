// "Did you mean": the known name nearest to a mistyped one.
import { distance } from 'fastest-levenshtein'

/** @returns null when no name is near enough to be what was meant */
export function closestName(typed: string, names: Iterable<string>): string | null {
  if (typed.length > 100) return null
  const wanted = typed.toLowerCase()
  let best: string | null = null
  let bestDistance = Math.min(Math.max(2, Math.floor(typed.length / 3)), typed.length - 1) + 1
  for (const name of names) {
    const known = name.toLowerCase()
    const isLonger = known.length >= 3 && wanted.startsWith(known)
    const isBeginning = wanted.length >= 3 && known.startsWith(wanted) && !known.includes('.', wanted.length)
    const apart = isLonger || isBeginning ? 1 : distance(wanted, known)
    if (apart < bestDistance) {
      best = name
      bestDistance = apart
    }
  }
  return best
}
