// Everything that is wrong with a configuration, at once. Each finding is an operator's error with its own place.
import { describeOperatorError, OperatorError } from '../base/errors.ts'

const findingsLimit = 100

/** Findings of which several may stand at one place: each says something else. */
const severalAtOnePlace: readonly string[] = [
  'syntax',
  'missing-variable',
  'address-conflict',
  'directory-conflict',
  'pool-conflict',
  'unknown-instance',
]

/** @see findings - file by file, each in the order of its lines, at most one hundred */
export class ConfigError extends OperatorError {
  readonly findings: readonly OperatorError[]

  constructor(findings: readonly OperatorError[]) {
    const kept = uniqueInOrder(findings)
    super('invalid-configuration', kept.map(describeOperatorError).join('\n'))
    this.name = 'ConfigError'
    this.findings = kept
  }
}

function uniqueInOrder(findings: readonly OperatorError[]): OperatorError[] {
  const unique = new Map<string, OperatorError>()
  for (const finding of findings) {
    // A value is looked at where it stands in the file and again after merging: one place is one finding of a kind.
    const { place, code } = finding
    const text =
      place?.line === undefined
        ? describeOperatorError(finding)
        : JSON.stringify([
            place.file,
            place.line,
            place.column,
            code,
            severalAtOnePlace.includes(code) && finding.message,
          ])
    if (!unique.has(text)) unique.set(text, finding)
  }
  const files = new Map<string | undefined, number>()
  for (const { place } of unique.values()) if (!files.has(place?.file)) files.set(place?.file, files.size)
  // What has no line comes last: variables of the environment, options, files that cannot be read.
  const rank = ({ place }: OperatorError) => (place?.line === undefined ? files.size : files.get(place.file)!)
  const position = ({ place }: OperatorError) => (place?.line ?? 0) * 1e6 + (place?.column ?? 0)
  const sorted = [...unique.values()].sort(
    (left, right) => rank(left) - rank(right) || position(left) - position(right),
  )
  if (sorted.length <= findingsLimit) return sorted
  const more = new OperatorError('too-many-findings', `${sorted.length - findingsLimit} more findings are not shown`)
  return [...sorted.slice(0, findingsLimit), more]
}
