// The hooks of one broker in the order in which they were added, and the asking of them: one after the other until one decides. What is
// no clear answer, and a throw, refuse. Knows no connection, no packet and nothing of what becomes of a verdict.
import { OperatorError } from '../base/errors.ts'
import type { ApplicationMessage } from '../codec/application-message.ts'
import type { Qos } from '../codec/packet-types.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import type { Log } from '../observe/log.ts'
import type { AuthenticationAnswer, Credentials } from '../security/authority.ts'
import type {
  AuthorizationRequest,
  BrokerHooks,
  ClientInfo,
  EnhancedAuthenticator,
  MaybePromise,
  Message,
} from './hooks.ts'

/** What `runPublish` answers for a message that goes nowhere and is acknowledged all the same. */
export const droppedByHook = 1

/** Every name that a hook may have; the compiler asks for one that is missing. */
const hookNames: Record<keyof BrokerHooks, true> = {
  authenticate: true,
  enhancedAuthenticators: true,
  authorize: true,
  onConnect: true,
  onDisconnect: true,
  onSubscribe: true,
  onUnsubscribe: true,
  onPublish: true,
  onDeliver: true,
}

type Hooks<Name extends keyof BrokerHooks> = NonNullable<BrokerHooks[Name]>[]

export class HookRegistry {
  readonly enhancedAuthenticators = new Map<string, EnhancedAuthenticator>()
  /** null while there is none: looked at for every message. */
  onPublish: Hooks<'onPublish'> | null = null
  onDeliver: Hooks<'onDeliver'> | null = null
  readonly #authenticate: Hooks<'authenticate'> = []
  readonly #authorize: Hooks<'authorize'> = []
  readonly #onConnect: Hooks<'onConnect'> = []
  readonly #onDisconnect: Hooks<'onDisconnect'> = []
  readonly #onSubscribe: Hooks<'onSubscribe'> = []
  readonly #onUnsubscribe: Hooks<'onUnsubscribe'> = []
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log
  }

  /** @throws OperatorError for a name that no hook has: a hook that is never asked would let everything pass */
  add(hooks: BrokerHooks): void {
    for (const name of Object.keys(hooks)) {
      if (Object.hasOwn(hookNames, name)) continue
      throw new OperatorError('unknown-hook', `there is no hook ${JSON.stringify(name)}`, {
        fix: `the hooks are ${Object.keys(hookNames).join(', ')}`,
      })
    }
    if (hooks.authenticate !== undefined) this.#authenticate.push(hooks.authenticate.bind(hooks))
    for (const one of hooks.enhancedAuthenticators ?? []) this.enhancedAuthenticators.set(one.method, one)
    if (hooks.authorize !== undefined) this.#authorize.push(hooks.authorize.bind(hooks))
    if (hooks.onConnect !== undefined) this.#onConnect.push(hooks.onConnect.bind(hooks))
    if (hooks.onDisconnect !== undefined) this.#onDisconnect.push(hooks.onDisconnect.bind(hooks))
    if (hooks.onSubscribe !== undefined) this.#onSubscribe.push(hooks.onSubscribe.bind(hooks))
    if (hooks.onUnsubscribe !== undefined) this.#onUnsubscribe.push(hooks.onUnsubscribe.bind(hooks))
    if (hooks.onPublish !== undefined) this.onPublish = [...(this.onPublish ?? []), hooks.onPublish.bind(hooks)]
    if (hooks.onDeliver !== undefined) this.onDeliver = [...(this.onDeliver ?? []), hooks.onDeliver.bind(hooks)]
  }

  get hasAuthenticate(): boolean {
    return this.#authenticate.length > 0
  }

  get hasAuthorize(): boolean {
    return this.#authorize.length > 0
  }

  /** The first that refuses decides. */
  askAuthenticate(credentials: Credentials): MaybePromise<AuthenticationAnswer> {
    let username = credentials.username
    const read = (answer: boolean | AuthenticationAnswer): AuthenticationAnswer | null => {
      if (answer === true) return null
      if (typeof answer === 'object' && answer !== null) {
        if (answer.allowed !== true) {
          return {
            allowed: false,
            reasonCode: answer.reasonCode ?? ReasonCode.notAuthorized,
            reason: answer.reason ?? 'refused',
          }
        }
        if (answer.username !== undefined) username = answer.username
        return null
      }
      // false, and any rubbish that is neither a yes nor a reasoned no.
      return { allowed: false, reasonCode: ReasonCode.badUserNameOrPassword, reason: 'bad user name or password' }
    }
    try {
      return askInTurn(
        this.#authenticate,
        (hook) => hook(credentials),
        read,
        () => ({ allowed: true, username }),
      )
    } catch (error) {
      this.#log.error('the authenticate hook failed', { error: String(error) })
      return { allowed: false, reasonCode: ReasonCode.serverUnavailable, reason: 'authentication is not possible now' }
    }
  }

  /** All must allow. @param topic see `AuthorizationRequest` */
  askAuthorize(client: ClientInfo, action: 'publish' | 'subscribe', topic: string): MaybePromise<boolean> {
    try {
      return askInTurn(
        this.#authorize,
        (hook) => hook({ client, action, topic }),
        (answer) => (answer === true ? null : false),
        () => true,
      )
    } catch (error) {
      this.#log.error('the authorize hook failed', { error: String(error), action })
      return false
    }
  }

  /** All must allow, at once. */
  mayReceive(client: ClientInfo, topic: string): boolean {
    const request: AuthorizationRequest = { client, action: 'receive', topic }
    try {
      return this.#authorize.every((hook) => hook(request) === true)
    } catch (error) {
      this.#log.error('the authorize hook failed', { error: String(error), action: 'receive' })
      return false
    }
  }

  /** @returns 0 to go on, or the Reason Code of a refusal */
  runConnect(client: ClientInfo): MaybePromise<number> {
    // Whatever is neither undefined nor a number is no answer, and lets nobody in.
    const read = (answer: unknown): number | null => {
      if (answer === undefined || answer === 0) return null
      return typeof answer === 'number' ? answer : ReasonCode.implementationSpecificError
    }
    try {
      return askInTurn(
        this.#onConnect,
        (hook) => hook(client),
        read,
        () => 0,
      )
    } catch (error) {
      this.#log.error('the onConnect hook failed', { error: String(error) })
      return ReasonCode.serverUnavailable
    }
  }

  runDisconnect(client: ClientInfo, reasonCode: number): void {
    for (const hook of this.#onDisconnect) {
      try {
        hook(client, reasonCode)
      } catch (error) {
        this.#log.error('the onDisconnect hook failed', { error: String(error) })
      }
    }
  }

  /** @returns 0 to go on, or the Reason Code of a refusal */
  runSubscribe(client: ClientInfo, filter: string, qos: Qos): number {
    for (const hook of this.#onSubscribe) {
      try {
        const answer = hook(client, filter, qos)
        if (typeof answer === 'number' && answer >= 0x80) return answer
        // Such as a promise, for which nobody would wait.
        if (answer !== undefined && typeof answer !== 'number') return ReasonCode.implementationSpecificError
      } catch (error) {
        this.#log.error('the onSubscribe hook failed', { error: String(error) })
        return ReasonCode.implementationSpecificError
      }
    }
    return 0
  }

  runUnsubscribe(client: ClientInfo, filter: string): void {
    for (const hook of this.#onUnsubscribe) {
      try {
        hook(client, filter)
      } catch (error) {
        this.#log.error('the onUnsubscribe hook failed', { error: String(error) })
      }
    }
  }

  /** @returns 0 to go on, `droppedByHook`, or the Reason Code of a refusal */
  runPublish(client: ClientInfo | null, message: ApplicationMessage, mountPoint: string): MaybePromise<number> {
    if (this.onPublish === null) return 0
    const view = viewOf(message, mountPoint)
    const read = (answer: undefined | boolean | number): number | null =>
      answer === false ? droppedByHook : typeof answer === 'number' && answer >= 0x80 ? answer : null
    try {
      return askInTurn(
        this.onPublish,
        (hook) => hook(client, view),
        read,
        () => 0,
      )
    } catch (error) {
      this.#log.error('the onPublish hook failed', { error: String(error) })
      return ReasonCode.implementationSpecificError
    }
  }

  /** Whether this client gets the message, as far as hooks decide. */
  mayDeliver(client: ClientInfo, message: ApplicationMessage, mountPoint: string): boolean {
    const view = viewOf(message, mountPoint)
    for (const hook of this.onDeliver ?? []) {
      try {
        const answer: unknown = hook(client, view)
        if (answer === undefined || answer === true) continue
      } catch (error) {
        this.#log.error('the onDeliver hook failed', { error: String(error) })
      }
      return false
    }
    return true
  }
}

/** @param read what an answer means: null to ask the next @throws what a hook throws; (rejects) with what one rejects later */
function askInTurn<Hook, Answer, Verdict>(
  hooks: readonly Hook[],
  ask: (hook: Hook) => MaybePromise<Answer>,
  read: (answer: Answer) => Verdict | null,
  whenAllPass: () => Verdict,
): MaybePromise<Verdict> {
  const askFrom = (start: number): MaybePromise<Verdict> => {
    for (let at = start; at < hooks.length; at++) {
      const answer = ask(hooks[at])
      if (answer instanceof Promise) return answer.then((late) => read(late) ?? askFrom(at + 1))
      const verdict = read(answer)
      if (verdict !== null) return verdict
    }
    return whenAllPass()
  }
  return askFrom(0)
}

/** A message as the client behind this mount point knows it. */
function viewOf(message: ApplicationMessage, mountPoint: string): Message {
  const { topic, payload, qos, retain, properties } = message.own()
  return { topic: topic.slice(mountPoint.length), payload, qos, retain, properties }
}
