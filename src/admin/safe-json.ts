// JSON that is one line and that no terminal takes for commands, whatever peers have chosen as names.

const unsafe = /[\u007f-\u009f\u2028\u2029]/g

/** @param indent spaces per level; without it one line */
export function safeJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(
    unsafe,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
