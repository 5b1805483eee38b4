// Who a client is and what it may do: puts together what the password file, the rules and the hooks answer. Remembers no answer; who
// does is told when the answers may be others. Knows no connection and no packet.
import { ReasonCode } from '../codec/reason-codes.ts'
import type { AuthenticationAnswer, Authenticator, Authorizer, Credentials } from '../security/authority.ts'
import type { Session } from '../session/session.ts'
import type { HookRegistry } from './hook-registry.ts'
import type { ClientInfo, MaybePromise } from './hooks.ts'

export class Rights {
  /** Who vouches for user names; null: nobody. */
  authenticator: Authenticator | null = null
  #authorizer: Authorizer | null = null
  readonly #hooks: HookRegistry
  readonly #onChange: () => void

  /** @param onChange forgets every remembered answer on what clients may do */
  constructor(hooks: HookRegistry, onChange: () => void) {
    this.#hooks = hooks
    this.#onChange = onChange
  }

  /** The rules; to be set again when they have changed. */
  set authorizer(authorizer: Authorizer | null) {
    this.#authorizer = authorizer
    this.#onChange()
  }

  /** A hook answers otherwise than before. */
  changed(): void {
    this.#onChange()
  }

  /** Whether anybody has to be asked what clients may do. */
  get hasRules(): boolean {
    return this.#authorizer !== null || this.#hooks.hasAuthorize
  }

  /** @param anonymous of the listener: whether clients without a user name come in; null where that follows from the rest */
  authenticate(credentials: Credentials, anonymous: boolean | null): MaybePromise<AuthenticationAnswer> {
    const { authenticator } = this
    const { username } = credentials
    if (this.#hooks.hasAuthenticate) return this.#hooks.askAuthenticate(credentials)
    const needsUser = authenticator !== null ? anonymous !== true : anonymous === false
    if (username === null || authenticator === null) {
      if (needsUser) {
        return { allowed: false, reasonCode: ReasonCode.notAuthorized, reason: 'a user name and password are needed' }
      }
      // Nobody vouches for the name, so rules must not rely on it.
      return { allowed: true, username: null }
    }
    const answer = authenticator.authenticate(credentials)
    const named = (decided: AuthenticationAnswer): AuthenticationAnswer =>
      decided.allowed ? { allowed: true, username: decided.username ?? username } : decided
    return answer instanceof Promise ? answer.then(named) : named(answer)
  }

  /**
   * Rules and hooks must both allow.
   * @param client one that need not be connected
   * @param topic as the client knows it, without the mount point
   */
  authorize(
    client: ClientInfo,
    mountPoint: string,
    action: 'publish' | 'subscribe',
    topic: string,
  ): MaybePromise<boolean> {
    const rules = this.#authorizer
    if (rules !== null) {
      const mounted = mountPoint + topic
      const isAllowed = action === 'publish' ? rules.mayPublish(client, mounted) : rules.maySubscribe(client, mounted)
      if (!isAllowed) return false
    }
    return this.#hooks.askAuthorize(client, action, topic)
  }

  /** @param topic with the mount point */
  mayReceive({ client, mountPoint }: Session, topic: string): boolean {
    // An in-process client belongs to the program that embeds the broker.
    if (client === null) return true
    if (this.#authorizer !== null && !this.#authorizer.mayReceive(client, topic)) return false
    return !this.#hooks.hasAuthorize || this.#hooks.mayReceive(client, topic.slice(mountPoint.length))
  }
}
