// Shapes that the verbs of several resources share.
import * as z from 'zod'
import { isSharedFilter, isValidTopicFilter, parseSharedFilter } from '../../topic/topic-filter.ts'
import { isValidTopicName } from '../../topic/topic-name.ts'
import { rowsLimit } from '../listings.ts'

/** Of a Client Identifier, a user name, a topic: what the protocol allows. */
const textLimitChars = 65_535

const text = (what: string) =>
  z.string(`expected ${what}`).max(textLimitChars, `expected ${what} of 65535 bytes at most`)

export const clientIdShape = text('a client identifier').min(1, 'expected a client identifier')
export const prefixShape = text('the beginning of a client identifier')
export const usernameShape = text('a user name')
export const topicShape = text('a topic').refine(isValidTopicName, 'is no topic name')
export const filterShape = text('a topic filter').refine(isValidTopicFilter, 'is no topic filter')
export const subscriptionFilterShape = text('a topic filter').refine(
  (value) => (isSharedFilter(value) ? parseSharedFilter(value) !== null : isValidTopicFilter(value)),
  'is no topic filter',
)

export function wholeNumber(minimum: number, maximum: number): z.ZodNumber {
  const message = `expected a whole number from ${minimum} to ${maximum}`
  return z.int(message).min(minimum, message).max(maximum, message)
}

/** What every list takes. */
export const pageParams = {
  limit: wholeNumber(1, rowsLimit).default(100).meta({ description: 'Rows of one page at most.' }),
  cursor: z
    .string('expected the cursor of a page before')
    .max(100, 'expected the cursor of a page before')
    .optional()
    .meta({
      description: 'Of the page before; what was asked for there holds, other parameters than limit mean nothing.',
    }),
}

/** What every list answers. A page may have fewer rows than asked for, and yet not be the last. */
export function pageOf<Row extends z.ZodType>(row: Row) {
  return z.strictObject({
    items: z.array(row),
    cursor: z.string().nullable().meta({ description: 'For the next page, within a minute; null after the last.' }),
  })
}

export const count = z.int().nonnegative()
export const optionalCount = count.nullable()
