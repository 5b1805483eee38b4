// A reload that fails half-way: users and rules of the new configuration must be gone again.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { Workplace } from '../process/daemon.ts'

test('users are the old ones again when a new listener cannot be opened', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.after(() => taken.close())
  const workplace = new Workplace(t)
  const listeners = { local: `unix://${workplace.socketPath}` }
  workplace.configure({ listeners })
  const daemon = await workplace.start().ready()
  const users = workplace.path('users')
  writeFileSync(users, '')
  const { port } = taken.address() as AddressInfo
  workplace.configure({ listeners: { ...listeners, taken: `tcp://127.0.0.1:${port}` }, auth: { passwords: users } })
  assert.match(await daemon.reload(), /nothing was reloaded/)
  await (await workplace.client()).fence()
  workplace.configure({ listeners, auth: { passwords: users } })
  assert.match(await daemon.reload(), /configuration reloaded/)
  const refused = await workplace.connect({ path: workplace.socketPath })
  refused.sendConnect()
  await refused.expectRefused(0x87)
})
