// A Network Connection as the broker sees it: ordered bytes with back-pressure. Knows no MQTT.
import type { Peer } from '../base/peer.ts'

/** What the broker gives to a Network Connection; called directly, never through an event. */
export interface NetworkReceiver {
  /** Bytes [start, end) of `buffer` have come. They are only valid during the call. */
  received(buffer: Buffer, start: number, end: number): void
  /** Everything that `write` had refused to take at once is written now. */
  drained(): void
  /** The peer has ended its side, or the connection broke; called exactly once, and nothing is called after it. */
  closed(error: Error | null): void
}

export interface NetworkConnection {
  readonly peer: Peer
  /** Starts reading. Called once. */
  start(receiver: NetworkReceiver): void
  /**
   * Writes bytes [start, end) of `buffer`.
   * @returns true when the memory may be used again at once; false when it belongs to the connection until `drained`.
   */
  write(buffer: Buffer, start: number, end: number): boolean
  pause(): void
  resume(): void
  /** Closes after everything written has been sent; no longer reads. `closed` still follows. */
  end(): void
  /** Closes at once, dropping what is not yet sent. `closed` still follows. */
  destroy(): void
}
