// One message on its way to one client, as its Session, queue and journal see it.
import type { ApplicationMessage } from '../codec/application-message.ts'
import type { Qos } from '../codec/packet-types.ts'
import type { ShareGroup } from '../routing/share-group.ts'

/** One message on its way to one client. */
export interface Delivery {
  readonly message: ApplicationMessage
  readonly qos: Qos
  readonly retain: boolean
  readonly identifiers: readonly number[] | null
  readonly share: ShareGroup | null
  /** Grows with each message that a Session keeps. */
  readonly order: number
}
