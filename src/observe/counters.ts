// What one instance counts. Plain numbers that only grow, in one object, so that counting costs one addition.

export class Counters {
  bytesReceived = 0
  bytesSent = 0
  packetsReceived = 0
  packetsSent = 0
  /** PUBLISH packets and their payload bytes. */
  publishReceived = 0
  publishSent = 0
  publishBytesReceived = 0
  publishBytesSent = 0
  connectionsAccepted = 0
  connectionsRefused = 0
  connectionsClosed = 0
  sessionsExpired = 0
  sessionsTakenOver = 0
  protocolErrors = 0
  authenticationFailures = 0
  publishDenied = 0
  subscribeDenied = 0
  /** Acknowledgements of packets that were not in flight. */
  acknowledgementsUnknown = 0
  duplicatesSuppressed = 0
  keepAliveTimeouts = 0
  stallTimeouts = 0
  rateLimited = 0
  retainedRefused = 0
  /** PUBLISH and CONNECT that the store could not take. */
  refusedByStore = 0
  retainedExpired = 0
  /** Messages that a client did not get, by reason. */
  droppedOutputFull = 0
  droppedQueueFull = 0
  droppedExpired = 0
  droppedQueueAge = 0
  droppedTooLarge = 0
  droppedByHook = 0
  droppedDenied = 0
  /** Lost in the store, as their records are damaged. */
  droppedDamaged = 0

  get dropped(): number {
    return (
      this.droppedOutputFull +
      this.droppedQueueFull +
      this.droppedExpired +
      this.droppedQueueAge +
      this.droppedTooLarge +
      this.droppedByHook +
      this.droppedDenied +
      this.droppedDamaged
    )
  }
}
