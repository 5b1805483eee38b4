// Aedes as a server of its own: `node bench/peers/aedes.mjs PORT SOCKET`. Limits are raised where the benchmark would run into a default.
import net from 'node:net'
import { Aedes } from 'aedes'

const [port, socket] = process.argv.slice(2)
const aedes = await Aedes.createBroker({ queueLimit: 1_000_000, maxInflightInbound: 60_000, drainTimeout: 0 })
for (const address of [{ host: '127.0.0.1', port: Number(port) }, { path: socket }]) {
  net.createServer({ noDelay: true }, aedes.handle).listen(address)
}
