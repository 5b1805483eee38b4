// The schema of a whole file, built from the table of keys: used to validate, and printed as JSON Schema for editors.
import * as z from 'zod'
import type { Key } from './key-kinds.ts'
import { directoryKeys, instanceKeys, type KeyTable, listenerKeys, namePattern, sectionKeys } from './keys.ts'
import { ValueError } from './quantities.ts'

const sectionDescriptions: Record<keyof typeof sectionKeys, string> = {
  auth: 'Who may connect, and who may use which topics.',
  limits: 'What clients may use. Every limit has a value; see the documentation for what happens at it.',
  features: 'What the broker offers.',
  log: 'The log.',
}

/** Schema of one listener in the long form. */
export const listenerSchema = strict(shapeOf(listenerKeys)).meta({ id: 'listener' })

/** Schema of the keys of an instance that stand in no section, and of each section. */
export const instanceKeysSchema = z.object(shapeOf(instanceKeys))
export const sectionSchemas = mapRecord(sectionKeys, (table, name) =>
  strict(shapeOf(table)).meta({ id: name, description: sectionDescriptions[name] }),
)

const listenersSchema = z
  .record(
    z.string().regex(namePattern),
    z.union([z.string(), listenerSchema], { error: 'expected an address or a mapping with an address' }),
    { error: 'expected a mapping of listener names to addresses' },
  )
  .meta({ description: 'Where clients connect: name → address, or name → mapping with `address` and more keys.' })

const instanceShape = {
  listeners: listenersSchema.optional(),
  ...mapRecord(sectionSchemas, (schema) => schema.nullable().optional()),
  ...shapeOf(instanceKeys),
}

/** Schema of one instance, by itself. */
export const instanceSchema = strict(instanceShape).meta({ id: 'instance' })

/** Schema of the whole file. */
export const documentSchema = strict({
  ...instanceShape,
  ...shapeOf(directoryKeys),
  defaults: instanceSchema
    .nullable()
    .optional()
    .meta({ description: 'Values for every instance; what an instance says itself wins.' }),
  instances: z
    .record(z.string().regex(namePattern), instanceSchema.nullable(), { error: 'expected a mapping of instance names' })
    .optional()
    .meta({
      description: 'Name → instance. This version runs one; without this key the file describes one called `default`.',
    }),
})

/** Names of the keys of a file, top level. */
export const documentKeyNames: readonly string[] = Object.keys(documentSchema.shape)
export const instanceKeyNames: readonly string[] = Object.keys(instanceShape)

/** JSON Schema (draft 2020-12) of the configuration file, as text. */
export function jsonSchemaText(): string {
  const { $schema, ...rest } = z.toJSONSchema(documentSchema, { io: 'input' })
  const schema = {
    $schema,
    title: 'AtollMQ configuration',
    description: 'The file atoll.yaml of the MQTT broker AtollMQ.',
    ...rest,
  }
  return `${JSON.stringify(schema, null, 2)}\n`
}

function strict<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, { error: (issue) => (issue.code === 'invalid_type' ? 'expected a mapping' : undefined) })
}

function shapeOf(table: KeyTable): Record<string, z.ZodType> {
  return mapRecord(table, schemaOf)
}

function schemaOf(row: Key<string, unknown, unknown>): z.ZodType {
  const checked = row.kind.input.transform((value, context) => {
    try {
      return row.kind.read(value)
    } catch (error) {
      if (!(error instanceof ValueError)) throw error
      const params = { code: error.code, fix: error.fix }
      context.issues.push({ code: 'custom', message: error.message, input: value, params })
      return z.NEVER
    }
  })
  const schema = row.default === undefined ? checked : checked.prefault(row.default as z.core.util.NoUndefined<unknown>)
  return schema.meta({ description: row.description })
}

function mapRecord<Name extends string, From, To>(
  record: Readonly<Record<Name, From>>,
  map: (value: From, name: Name) => To,
): Record<Name, To> {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [name, map(value as From, name as Name)]),
  ) as Record<Name, To>
}
