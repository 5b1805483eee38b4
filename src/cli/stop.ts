// `atoll stop`: ends the daemon with all its instances, and returns when it has ended.
import type { Command } from 'commander'
import { type AdminFlags, addAdminOptions, openAdmin, printJson, printLine } from './admin-command.ts'

export function registerStop(program: Command): void {
  addAdminOptions(program.command('stop'))
    .description('stop all instances and the daemon, in order')
    .option('--wait', 'return when it has ended (the default)')
    .option('--no-wait', 'return at once')
    .action(async (flags: AdminFlags & { wait?: boolean }) => {
      const admin = openAdmin(flags)
      const pid = await admin.requestStop()
      const isAwaited = flags.wait !== false
      if (isAwaited) await admin.whenEnded()
      if (flags.json) printJson({ pid, stopped: isAwaited })
      else printLine((isAwaited ? 'stopped' : 'stopping') + (pid === null ? '' : ` pid ${pid}`))
    })
}
