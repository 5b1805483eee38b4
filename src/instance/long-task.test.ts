import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LongTask } from './long-task.ts'

/** Work that goes on until it is told to end, and then until it is let go. */
function begin(tasks: LongTask) {
  let letGo = () => {}
  const started = tasks.begin(
    (_onProgress, signal) =>
      new Promise((_resolve, reject) => {
        letGo = () => reject(signal.reason)
      }),
  )
  return { started, letGo: () => letGo() }
}

test('a task that is cancelled is on its way until it has ended, and then says that it was cancelled', async () => {
  const tasks = new LongTask()
  const { started, letGo } = begin(tasks)
  const { task, isDone } = await started
  assert.equal(isDone, false)
  await assert.rejects(tasks.cancel(task + 1), { code: 'no-such-task' })
  const asked = assert.rejects(tasks.ask(task), { code: 'cancelled' })
  const cancelled = tasks.cancel(task)
  assert.throws(() => tasks.begin(async () => ({})), { code: 'busy' })
  letGo()
  assert.equal(await cancelled, true)
  await asked
  await assert.rejects(tasks.ask(task), { code: 'cancelled' })
  assert.equal(await tasks.cancel(task), false)
})

test('a task that has ended keeps its result when it is cancelled too late', async () => {
  const tasks = new LongTask()
  const { task, result } = await tasks.begin(async () => ({ is: 'done' }))
  assert.deepEqual(result, { is: 'done' })
  assert.equal(await tasks.cancel(task), false)
  assert.deepEqual((await tasks.ask(task)).result, { is: 'done' })
})
