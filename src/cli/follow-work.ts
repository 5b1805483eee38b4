// Waits for an answer of the daemon that takes a while, and shows meanwhile how far it has come.
import { setTimeout as wait } from 'node:timers/promises'
import type { LongWorkState } from '../admin/long-work.ts'
import type { AdminClient } from './admin-client.ts'
import { createProgressLine, type ProgressLine } from './progress.ts'

const pollMs = 200

/** @param instance that is being made */
export async function showWork<Result>(
  admin: AdminClient,
  what: string,
  instance: string,
  answer: Promise<Result>,
): Promise<Result> {
  return process.stderr.isTTY ? await followWork(admin, instance, answer, createProgressLine(what)) : await answer
}

export async function followWork<Result>(
  admin: AdminClient,
  instance: string,
  answer: Promise<Result>,
  progress: ProgressLine,
): Promise<Result> {
  const answered = answer.then(
    () => null,
    () => null,
  )
  // Whoever cannot tell, as a daemon of an earlier version, only leaves the line away.
  const ask = async () => admin.call<LongWorkState[]>('fleet.progress').catch(() => [])
  try {
    while ((await Promise.race([answered, wait(pollMs, true, { ref: false })])) !== null) {
      const running = await Promise.race([answered, ask()])
      const state = running?.find((one) => one.instance === instance)
      if (state !== undefined) progress.show(state.share)
    }
    return await answer
  } finally {
    progress.end()
  }
}
