// `atoll schema`: the JSON Schema of the configuration file, for editors.
import type { Command } from 'commander'

export function registerSchema(program: Command): void {
  program
    .command('schema')
    .description('print the JSON Schema of the configuration file, for editors')
    .action(async () => {
      const { jsonSchemaText } = await import('../config/document-schema.ts')
      process.stdout.write(jsonSchemaText())
    })
}
