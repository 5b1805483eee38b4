#!/usr/bin/env node
// The command `atoll`. Each command stands in a file of its own, which is loaded only when it is wanted.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Command, CommanderError, Help } from 'commander'
import { exitCodes } from './exit-codes.ts'

/** Every command in the order of the help, and how it adds itself to the program. */
const commands: readonly (readonly [name: string, load: () => Promise<(program: Command) => void>])[] = [
  ['start', async () => (await import('./start.ts')).registerStart],
  ['stop', async () => (await import('./stop.ts')).registerStop],
  ['reload', async () => (await import('./apply.ts')).registerReload],
  ['status', async () => (await import('./status.ts')).registerStatus],
  ['loglevel', async () => (await import('./loglevel.ts')).registerLogLevel],
  ['plan', async () => (await import('./apply.ts')).registerPlan],
  ['apply', async () => (await import('./apply.ts')).registerApply],
  ['instance', async () => (await import('./instance.ts')).registerInstance],
  ['listener', async () => (await import('./listener.ts')).registerListener],
  ['client', async () => (await import('./client.ts')).registerClient],
  ['session', async () => (await import('./session.ts')).registerSession],
  ['subscription', async () => (await import('./subscription.ts')).registerSubscription],
  ['retained', async () => (await import('./retained.ts')).registerRetained],
  ['store', async () => (await import('./store.ts')).registerStore],
  ['backup', async () => (await import('./backup.ts')).registerBackup],
  ['restore', async () => (await import('./backup.ts')).registerRestore],
  ['check', async () => (await import('./check.ts')).registerCheck],
  ['systemd', async () => (await import('./systemd.ts')).registerSystemd],
  ['schema', async () => (await import('./schema.ts')).registerSchema],
  ['passwd', async () => (await import('./passwd.ts')).registerPasswd],
  ['pub', async () => (await import('./pub.ts')).registerPub],
  ['sub', async () => (await import('./sub.ts')).registerSub],
]

// A reader that has gone, as in `atoll schema | head`, is no fault of ours.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED') return
    if (stream === process.stdout) process.stderr.write(`atoll: the output cannot be written: ${error.message}\n`)
    process.exit(1)
  })
}

const plainHelp = new Help()
const program = new Command('atoll')
  .description('An MQTT broker for one host: UNIX sockets first class, strict and fast')
  .version(versionOfPackage(), '-V, --version', 'print the version')
  .helpOption('-h, --help', 'print this help')
  .showSuggestionAfterError()
  .exitOverride()
  // As all other errors begin, and handed down to every command.
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'atoll: ')) })
  .configureHelp({
    // Every command takes options, so that the list need not say so.
    subcommandTerm(command) {
      const words = command.commands.length > 0 ? '<command>' : command.usage().replace(/\[options\] ?/, '')
      return `${command.name()} ${words}`.trimEnd()
    },
    // An empty list as the default of what can be repeated says nothing.
    optionDescription: (option) => plainHelp.optionDescription(option).replace(' (default: [])', ''),
  })

try {
  const first = process.argv[2]
  const called = commands.filter(([name]) => name === first)
  const needsNone = first === '--version' || first === '-V'
  for (const [, load] of called.length > 0 || needsNone ? called : commands) (await load())(program)
  for (const command of program.commands) command.exitOverride()
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  else process.exitCode = (await import('./report-error.ts')).reportError(error)
}

function versionOfPackage(): string {
  let directory = import.meta.dirname
  while (!existsSync(join(directory, 'package.json')) && dirname(directory) !== directory)
    directory = dirname(directory)
  return JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')).version
}
