// A process that stood still, as on a virtual machine that is moved to another host: nobody pays for it who did his part.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { RawClient } from '../kit/raw-client.ts'
import { P, pingreq } from '../kit/wire.ts'
import { Workplace } from './daemon.ts'

const standstillMs = 3500

test('after a standstill clients whose packets wait are neither silent nor absent', async (t) => {
  const place = new Workplace(t)
  place.configure({ listeners: { local: `unix://${place.socketPath}` } })
  const daemon = await place.start().ready()
  const kept = { clientId: 'kept', cleanStart: false, properties: [[P.sessionExpiryInterval, 2]] as [number, number][] }
  const talking = await place.connect({ path: place.socketPath })
  const will = { topic: 'gone', payload: 'x' }
  await talking.handshake({ keepAliveSeconds: 2, will })
  const silent = await place.connect({ path: place.socketPath })
  await silent.handshake({ keepAliveSeconds: 2 })
  const observer = await place.client()
  await observer.subscribe(['gone'])
  const first = await RawClient.connect({ path: place.socketPath }, { level: 5 })
  await first.handshake(kept)
  await first.disconnect()

  daemon.child.kill('SIGSTOP')
  talking.send(pingreq())
  const back = await place.connect({ path: place.socketPath })
  back.sendConnect(kept)
  await delay(standstillMs)
  daemon.child.kill('SIGCONT')

  await talking.expect('PINGRESP')
  assert.equal((await back.expect('CONNACK')).sessionPresent, true)
  await silent.expectDisconnect(0x8d)
  await talking.fence()
  await observer.expectNothing()
})
