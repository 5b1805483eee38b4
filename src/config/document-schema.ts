// The schemas of a file and its parts, built from the table of keys: used to validate, and printed as JSON Schema for editors.
import * as z from 'zod'
import type { Key } from './key-kinds.ts'
import {
  adminKeys,
  directoryKeys,
  entryKeys,
  fileInstanceKeys,
  fileSectionKeys,
  instanceKeys,
  type KeyTable,
  listenerKeys,
  memberDirectoryKeys,
  memberKeys,
  namePattern,
  sectionKeys,
} from './keys.ts'
import { ValueError } from './quantities.ts'
import { entryNamePattern, variableNamePattern } from './variables.ts'

const sectionDescriptions: Record<keyof typeof fileSectionKeys, string> = {
  auth: 'Who may connect, and who may use which topics.',
  limits: 'What clients may use. Every limit has a value; see the documentation for what happens at it.',
  features: 'What the broker offers.',
  log: 'The log.',
  restart: 'What a crash of the instance leads to.',
}

/** Schema of one listener in the long form. */
export const listenerSchema = strict(shapeOf(listenerKeys)).meta({ id: 'listener' })

/** Schema of each section of an instance in a file. */
export const sectionSchemas = mapRecord(fileSectionKeys, (table, name) =>
  strict(shapeOf(table)).meta({ id: name, description: sectionDescriptions[name] }),
)

const listenersSchema = z
  .record(
    z.string().regex(namePattern),
    z.union([z.string(), listenerSchema], { error: 'expected an address or a mapping with an address' }),
    { error: 'expected a mapping of listener names to addresses' },
  )
  .meta({ description: 'Where clients connect: name → address, or name → mapping with `address` and more keys.' })

/** Schema of a broker in somebody's program. */
export const brokerSchema = strict({
  listeners: listenersSchema.optional(),
  ...mapRecord(sectionKeys, (table) => strict(shapeOf(table)).nullable().optional()),
  ...shapeOf(instanceKeys),
})

const sharedShape = {
  listeners: listenersSchema.optional(),
  ...mapRecord(sectionSchemas, (schema) => schema.nullable().optional()),
  ...shapeOf({ ...instanceKeys, ...memberKeys }),
}
const instanceShape = { ...sharedShape, ...shapeOf(memberDirectoryKeys) }

/** Schema of one instance of a file, when everything that is said about it has been put together. */
export const instanceSchema = strict(instanceShape)

/** The keys of an instance that stand in no section, and those of an entry about itself, whatever stands beside them. */
export const instanceKeysSchema = z.object(shapeOf(fileInstanceKeys))
export const entryKeysSchema = z.object(shapeOf(entryKeys, false))

/** Schema of an entry below `instances`; the variables of its template are besides these. */
export const entrySchema = strict({ ...instanceShape, ...shapeOf(entryKeys, false) }).meta({ id: 'instance' })

export const variableSchema = z.union([z.string(), z.number(), z.boolean()], {
  error: 'expected text, a number, true or false',
})

const templateSchema = strict({
  ...instanceShape,
  variables: z
    .record(z.string().regex(variableNamePattern), variableSchema.nullable(), {
      error: 'expected a mapping of variable names to values',
    })
    .nullable()
    .optional()
    .meta({
      description:
        // biome-ignore lint/suspicious/noTemplateCurlyInString: this is what people write
        'Name → default of the variables that stand in this template as `${name}`; without a default each instance gives its own.',
    }),
}).meta({ id: 'template' })

const includeSchema = z
  .union([z.string(), z.array(z.string())], { error: 'expected a path or a list of paths' })
  .optional()
  .meta({ description: 'Further files, relative to this one, with `*` and `?` in their names: `instances.d/*.yaml`.' })

export const adminSchema = strict(shapeOf(adminKeys, false)).meta({
  id: 'admin',
  description: 'Where the fleet is managed.',
})

const partShape = {
  templates: z
    .record(z.string().regex(namePattern), templateSchema, { error: 'expected a mapping of template names' })
    .nullable()
    .optional()
    .meta({ description: 'Name → what instances that name it as their `template` have in common.' }),
  instances: z
    .record(z.string().regex(entryNamePattern), entrySchema.nullable(), {
      error: 'expected a mapping of instance names',
    })
    .nullable()
    .optional()
    .meta({ description: 'Name → instance. Without this key the file describes one called `default`.' }),
  include: includeSchema,
}

/** Schema of a file that another one includes and that holds several instances or templates. */
export const partSchema = strict(partShape)

/** Schema of what belongs to the fleet and to no instance. */
export const fleetKeysSchema = z.object({ ...shapeOf(directoryKeys, false), admin: adminSchema.nullable().optional() })

/** Schema of the log of a daemon without instances, whatever stands beside it. */
export const logOnlySchema = z.object({ log: sectionSchemas.log.nullable().optional() })

/** Schema of the whole file. */
export const documentSchema = strict({
  ...sharedShape,
  ...shapeOf(directoryKeys, false),
  admin: adminSchema.nullable().optional(),
  defaults: instanceSchema
    .nullable()
    .optional()
    .meta({ description: 'Values for every instance; what its template or an instance itself says wins.' }),
  ...partShape,
})

/** Names of keys, for suggestions. */
export const documentKeyNames: readonly string[] = Object.keys(documentSchema.shape)
export const instanceKeyNames: readonly string[] = Object.keys(instanceShape)
export const partKeyNames: readonly string[] = Object.keys(partShape)

/** JSON Schema (draft 2020-12) of the configuration file, as text. */
export function jsonSchemaText(): string {
  const { $schema, $defs, ...rest } = z.toJSONSchema(documentSchema, {
    io: 'input',
    override: ({ jsonSchema }) => allowVariables(jsonSchema),
  })
  const { instance, ...others } = $defs as Record<string, z.core.JSONSchema.BaseSchema>
  const { additionalProperties: _, ...open } = instance!
  const schema = {
    $schema,
    title: 'AtollMQ configuration',
    description: 'The file atoll.yaml of the MQTT broker AtollMQ.',
    ...rest,
    $defs: {
      ...others,
      // Only an instance that is made from a template has variables beside the keys.
      instance: {
        ...open,
        anyOf: [{ required: ['template'] }, { propertyNames: { enum: Object.keys(open.properties!) } }],
      },
      variable: { type: 'string', pattern: '\\$\\{', description: 'Text with variables.' },
    },
  }
  return `${JSON.stringify(schema, null, 2)}\n`
}

/** Wherever an instance has a value that is no free text, `${…}` may stand instead. */
function allowVariables(schema: z.core.JSONSchema.BaseSchema): void {
  if (schema.takesVariables !== true) return
  delete schema.takesVariables
  const { description, default: value, anyOf, ...type } = schema
  const kinds = anyOf ?? [type]
  if (kinds.some((kind) => kind.type === 'string' && kind.pattern === undefined && kind.enum === undefined)) return
  for (const name of Object.keys(schema)) delete schema[name]
  Object.assign(schema, { description, default: value, anyOf: [...kinds, { $ref: '#/$defs/variable' }] })
  if (value === undefined) delete schema.default
}

function strict<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, { error: (issue) => (issue.code === 'invalid_type' ? 'expected a mapping' : undefined) })
}

/** @param takesVariables whether `${…}` is replaced in these keys */
function shapeOf(table: KeyTable, takesVariables = true): Record<string, z.ZodType> {
  return mapRecord(table, (row) => schemaOf(row, takesVariables))
}

function schemaOf(row: Key<string, unknown, unknown>, takesVariables: boolean): z.ZodType {
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
  return schema.meta({ description: row.description, ...(takesVariables ? { takesVariables } : {}) })
}

function mapRecord<Name extends string, From, To>(
  record: Readonly<Record<Name, From>>,
  map: (value: From, name: Name) => To,
): Record<Name, To> {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [name, map(value as From, name as Name)]),
  ) as Record<Name, To>
}
