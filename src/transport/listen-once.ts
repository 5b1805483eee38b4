// One attempt to make a server of Node listen, as a promise. Leaves no handler behind; knows no error text.
import type { ListenOptions, Server } from 'node:net'

/** @throws the error of the system, with its `code` */
export function listenOnce(server: Server, options: ListenOptions & { fd?: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    // Exclusive: in a worker of node:cluster the main process would otherwise bind, and keep the socket.
    server.listen({ ...options, exclusive: true }, () => {
      server.removeListener('error', reject)
      resolve()
    })
  })
}
