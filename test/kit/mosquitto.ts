// Mosquitto in the place of the product, to tell a wrong test from a wrong broker: ATOLL_TEST_PEER=mosquitto.
// Knows only the few options that have a counterpart there; hooks have none. Known to answer differently from what the
// tests want (2.0): no DISCONNECT 0x8E on takeover, PUBCOMP 0x00 for an unknown PUBREL, Receive Maximum not enforced as
// strictly, no answer but a closed connection to most malformed packets.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { BrokerOptions } from './broker.ts'
import { type Address, RawClient } from './raw-client.ts'

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function waitUntilReady(address: Address): Promise<void> {
  const endAtMs = performance.now() + 5000
  for (;;) {
    try {
      const probe = await RawClient.connect(address)
      probe.destroy()
      return
    } catch (error) {
      if (performance.now() > endAtMs) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

export async function startMosquitto(
  options: BrokerOptions,
  folder: string,
): Promise<{ addresses: { tcp: Address; unix: Address }; stop(): Promise<void> }> {
  const port = await freePort()
  const socketPath = join(folder, 'x.sock')
  const { limits = {}, features = {}, listener = {} } = options
  const lines = ['allow_anonymous true', 'log_dest none', 'user root', 'sys_interval 0']
  if (limits.keepAlive) lines.push(`max_keepalive ${Number.parseInt(String(limits.keepAlive), 10)}`)
  if (features.retain === false) lines.push('retain_available false')
  if (listener.maxPacketSize) lines.push(`max_packet_size ${listener.maxPacketSize}`)
  for (const place of [`${port} 127.0.0.1`, `0 ${socketPath}`]) {
    lines.push(`listener ${place}`)
    if (features.maximumQos !== undefined) lines.push(`max_qos ${features.maximumQos}`)
    lines.push(`max_topic_alias ${limits.topicAliasMaximum ?? 64}`)
  }
  const configPath = join(folder, 'mosquitto.conf')
  await writeFile(configPath, `${lines.join('\n')}\n`)
  const child = spawn('mosquitto', ['-c', configPath], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  const addresses = { tcp: { port, host: '127.0.0.1' }, unix: { path: socketPath } }
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
  }
  try {
    await waitUntilReady(addresses.tcp)
    await waitUntilReady(addresses.unix)
  } catch (error) {
    await stop()
    throw error
  }
  return { addresses, stop }
}
