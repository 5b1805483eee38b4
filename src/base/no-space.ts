// A disk that has no room: an error that passes by itself when somebody makes some. Knows no file.

/** Code of an OperatorError after which trying again later may help. */
export const noSpace = 'no-space'

/** Whether a call to the operating system found a full disk, or a quota that is used up. */
export function isNoSpace(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | null)?.code
  return code === 'ENOSPC' || code === 'EDQUOT'
}
