// The one place that touches what is below Node's sockets: an accepted connection as libuv's stream handle. A Socket made
// of a handle can read into a buffer that all connections share, which `net.createServer` does not offer, and an accepted
// connection costs one Socket instead of two. Works on Node 20, 24 and 26; where the shape is another, plain sockets serve.
import net, { type Server, type Socket } from 'node:net'

/** What is used of a handle; everything else goes through the Socket that is made of it. */
export interface StreamHandle {
  getpeername?(into: { address?: string; port?: number }): number
  setNoDelay?(isOn: boolean): number
  close(): void
}

interface ServerHandle {
  onconnection?: (status: number, handle: StreamHandle | undefined) => void
}

/**
 * Gives every connection that a listening server accepts to `accept`, before a Socket is made of it.
 * @returns false when this Node does not allow it: connections then come as 'connection' events, see `takeHandle`
 */
export function interceptConnections(
  server: Server,
  accept: (handle: StreamHandle) => void,
  onError: (status: number) => void,
): boolean {
  const { _handle: handle } = server as unknown as { _handle: ServerHandle | null }
  if (typeof handle?.onconnection !== 'function') return false
  handle.onconnection = (status, accepted) => {
    if (status < 0 || accepted === undefined) onError(status)
    else accept(accepted)
  }
  return true
}

/** Takes the handle out of a Socket that nobody has read from; the Socket is gone afterwards. */
export function takeHandle(socket: Socket): StreamHandle | null {
  const carrier = socket as unknown as { _handle: StreamHandle | null }
  const handle = carrier._handle
  carrier._handle = null
  socket.destroy()
  return handle
}

/** A Socket over a handle that hands each chunk to `onRead`, always in the same buffer; false from it stops the reading. */
export function socketOver(handle: StreamHandle, buffer: Buffer, onRead: (length: number) => boolean): Socket {
  const options = { handle, onread: { buffer, callback: onRead } }
  return new net.Socket(options as unknown as net.SocketConstructorOpts)
}
