// Everything that is wrong with a configuration, at once. Each finding is an operator's error with its own place.
import { describeOperatorError, OperatorError } from '../base/errors.ts'

const findingsLimit = 100

/** @see findings - in the order of the file, at most one hundred */
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
        : JSON.stringify([place.file, place.line, place.column, code, code === 'syntax' ? finding.message : ''])
    if (!unique.has(text)) unique.set(text, finding)
  }
  const position = (error: OperatorError) =>
    (error.place?.line ?? Number.MAX_SAFE_INTEGER) * 1e6 + (error.place?.column ?? 0)
  const sorted = [...unique.values()].sort((left, right) => position(left) - position(right))
  if (sorted.length <= findingsLimit) return sorted
  const more = new OperatorError('too-many-findings', `${sorted.length - findingsLimit} more findings are not shown`)
  return [...sorted.slice(0, findingsLimit), more]
}
