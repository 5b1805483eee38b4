// What the transport asks of a log. The log of an instance fits; the floor of the transport may not name it.

export interface TransportLog {
  info(message: string, fields?: Record<string, string | number | boolean | null | undefined>): void
  warn(message: string, fields?: Record<string, string | number | boolean | null | undefined>): void
}
