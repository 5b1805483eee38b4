// What a round has sent, what was promised for it and what came: finds everything that breaks a promise. Knows MQTT's rules
// for it, and neither sockets nor the broker's process.
//
// A message is promised by its PUBACK or PUBREC, to every Session whose SUBACK came before its first PUBLISH went out and that
// has sent no UNSUBSCRIBE since: once at least, and exactly once where both sides have QoS 2.

export const VIOLATION_KINDS = [
  'lost',
  'order',
  'qos2-double',
  'qos1-double',
  'session-present',
  'lost-subscription',
  'ended-subscription',
  'retained',
  'identifier-reused',
  'lost-release',
  'damaged',
  'unexpected',
] as const

/** What follows when the broker's side of a Session goes back in time and the client's does not. */
const allowedWithLeave: ReadonlySet<string> = new Set([
  'qos2-double',
  'session-present',
  'ended-subscription',
  'lost-subscription',
  'identifier-reused',
  'lost-release',
  'damaged',
])

export type ViolationKind = (typeof VIOLATION_KINDS)[number]

export interface Violation {
  kind: ViolationKind
  text: string
  /** All that is known of the message, in its order. */
  story: readonly string[]
}

export interface Message {
  readonly number: number
  readonly publisher: string
  readonly topic: string
  readonly qos: 1 | 2
  readonly retain: boolean
  /** Counts the messages of one publisher, topic and QoS. */
  readonly sequence: number
  /** Payload after the header. */
  readonly paddingBytes: number
  /** A retained message without payload. */
  readonly isDeletion: boolean
  /** One of those that show at the end which Subscriptions are there. */
  readonly isProbe: boolean
  firstSentTick: number
  sentCount: number
  /** Its PUBACK or PUBREC has come. */
  isPromised: boolean
  promisedTick: number
  readonly story: Event[]
}

interface Event {
  readonly atMs: number
  /** Client Identifier; null for what concerns all. */
  readonly who: string | null
  readonly text: string
}

export type NewMessage = Pick<Message, 'publisher' | 'topic' | 'qos' | 'retain' | 'paddingBytes'> & {
  isDeletion?: boolean
  isProbe?: boolean
}

const matches = (filter: string, topic: string): boolean => {
  const wanted = filter.split('/')
  const levels = topic.split('/')
  for (const [index, level] of wanted.entries()) {
    if (level === '#') return true
    if (index >= levels.length || (level !== '+' && level !== levels[index])) return false
  }
  return wanted.length === levels.length
}

interface Interval {
  filter: string
  qos: number
  /** SUBACK came. */
  fromTick: number
  /** UNSUBSCRIBE went out, or the Session was given up; Infinity while it stands. */
  endTick: number
}

interface Wrong {
  kind: ViolationKind
  text: string
  /** Whose story belongs to it too. */
  other?: Message
}

interface Receipts {
  /** Times it was given to the application: QoS 2 redeliveries that a client recognises do not count. */
  count: number
  connection: string
  countInConnection: number
}

/** What one Session, or all members of one shared group, must get and has got. */
export class Account {
  readonly name: string
  readonly isShared: boolean
  /** Client Identifiers. */
  readonly members = new Set<string>()
  readonly #intervals: Interval[] = []
  readonly #received = new Map<number, Receipts>()
  /** By publisher, topic and QoS. */
  readonly #lastMessages = new Map<string, Message>()

  constructor(name: string, isShared: boolean) {
    this.name = name
    this.isShared = isShared
  }

  subscribed(filter: string, qos: number, tick: number): void {
    const open = this.#intervals.some((interval) => interval.filter === filter && interval.endTick === Infinity)
    if (!open) this.#intervals.push({ filter, qos, fromTick: tick, endTick: Infinity })
  }

  /** `filter` null for all. */
  unsubscribing(filter: string | null, tick: number): void {
    for (const interval of this.#intervals) {
      if (interval.endTick === Infinity && (filter === null || interval.filter === filter)) interval.endTick = tick
    }
  }

  /** QoS of the Subscription through which the message is owed; null when none is. */
  owed(message: Message, isEndangered: (tick: number) => boolean = () => false): number | null {
    const owing = this.#intervals.find(
      ({ filter, fromTick, endTick }) =>
        fromTick < message.firstSentTick &&
        endTick === Infinity &&
        matches(filter, message.topic) &&
        !isEndangered(fromTick),
    )
    return owing === undefined ? null : owing.qos
  }

  has(message: Message): boolean {
    return this.#received.has(message.number)
  }

  /** Notes one receipt. @returns what is wrong with it */
  receive(message: Message, qos: number, connection: string): Wrong | null {
    const known = this.#received.get(message.number)
    if (known === undefined) {
      this.#received.set(message.number, { count: 1, connection, countInConnection: 1 })
      return this.#checkOrder(message)
    }
    known.count++
    known.countInConnection = known.connection === connection ? known.countInConnection + 1 : 1
    known.connection = connection
    if (qos === 2) return { kind: 'qos2-double', text: `${this.name} was given it ${known.count} times` }
    // Another one in the same connection is right only if the publisher has sent it again.
    if (!this.isShared && known.countInConnection > message.sentCount) {
      return { kind: 'qos1-double', text: `${this.name} got it ${known.countInConnection} times in one connection` }
    }
    return null
  }

  #checkOrder(message: Message): Wrong | null {
    if (this.isShared) return null
    const key = `${message.publisher} ${message.topic} ${message.qos}`
    const last = this.#lastMessages.get(key)
    if (last === undefined || message.sequence > last.sequence) {
      this.#lastMessages.set(key, message)
      return null
    }
    // Sent again after a kill, one from before the Subscription may come behind those that were sent after it.
    if (this.owed(message) === null) return null
    return { kind: 'order', text: `${this.name} got it after message ${last.number}`, other: last }
  }
}

export class Ledger {
  readonly violations: Violation[] = []
  readonly messages: Message[] = []
  readonly figures = {
    acknowledgements: 0,
    deliveries: 0,
    redeliveries: 0,
    redeliveriesWithoutDup: 0,
    sessions: 0,
    subscriptions: 0,
    retainedChecks: 0,
    /** What a power cut took that nobody had promised to keep. */
    allowedLosses: 0,
  }
  /** Called with each acknowledgement that a client has received, before the client goes on. */
  onAcknowledgement: (what: string) => void = () => {}
  /** Called when the first byte of a PUBLISH has gone. */
  onSent: () => void = () => {}
  readonly #accounts: Account[] = []
  readonly #sequences = new Map<string, number>()
  readonly #retained = new Map<string, Message[]>()
  readonly #nowMs: () => number
  readonly #bornAtMs: number
  readonly #roundStory: Event[] = []
  #tick = 0
  /** What was promised in between may be lost: from the last time that all was on the disk to a power cut. */
  readonly #endangered: { fromTick: number; toTick: number }[] = []
  #safeTick = 0
  /** What `isComplete` has found missing, by number. */
  #lastMissing: { account: number; message: number } | null = null

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs
    this.#bornAtMs = nowMs()
  }

  tick(): number {
    return ++this.#tick
  }

  /** All that was promised so far survives a power cut. */
  flushed(): void {
    this.#safeTick = this.tick()
  }

  /** The power was cut where no more was promised than what had been flushed. */
  mayHaveLost(): void {
    this.#endangered.push({ fromTick: this.#safeTick, toTick: this.tick() })
  }

  /** Something may have been lost in this round. */
  get hasLeave(): boolean {
    return this.#endangered.length > 0
  }

  isEndangered(tick: number): boolean {
    return this.#endangered.some(({ fromTick, toTick }) => tick > fromTick && tick < toTick)
  }

  #event(who: string | null, text: string): Event {
    return { atMs: this.#nowMs() - this.#bornAtMs, who, text }
  }

  /** Something that concerns all: kills and starts. */
  happened(text: string): void {
    this.#roundStory.push(this.#event(null, text))
  }

  note(message: Message, who: string, text: string): void {
    message.story.push(this.#event(who, text))
  }

  /** @param account whose side of the story is told, beside the publisher's */
  violate(
    kind: ViolationKind,
    text: string,
    message: Message | null = null,
    account: Account | null = null,
    other: Message | null = null,
  ): void {
    // Of one that was sent twice the first copy may be lost, and the second one comes behind others.
    const isSecondCopy = kind === 'order' && message !== null && message.sentCount > 1
    if (this.hasLeave && (isSecondCopy || allowedWithLeave.has(kind))) {
      this.figures.allowedLosses++
      return
    }
    const isTold = ({ who }: Event) => who === message?.publisher || (who !== null && account?.members.has(who))
    const told = (one: Message | null) => one?.story.filter(isTold) ?? []
    const ofOther = told(other).map((event) => ({ ...event, text: `(message ${other?.number}) ${event.text}` }))
    const events = [...told(message), ...ofOther, ...this.#roundStory]
    const story = events
      .sort((a, b) => a.atMs - b.atMs)
      .map((event) => `${event.atMs.toFixed(1)} ms ${event.who === null ? '' : `${event.who} `}${event.text}`)
    const what = message === null ? '' : ` | ${this.#describe(message)}`
    const atMs = this.#nowMs() - this.#bornAtMs
    this.violations.push({ kind, text: `${atMs.toFixed(1)} ms ${text}${what}`, story })
  }

  #describe(message: Message): string {
    const { number, publisher, topic, qos, sequence, retain, paddingBytes } = message
    return `message ${number} ${publisher} ${topic} qos=${qos} sequence=${sequence} retain=${retain} padding=${paddingBytes}`
  }

  account(name: string, isShared = false): Account {
    const account = new Account(name, isShared)
    this.#accounts.push(account)
    return account
  }

  create({ isDeletion = false, isProbe = false, ...given }: NewMessage): Message {
    const key = `${given.publisher} ${given.topic} ${given.qos}`
    const sequence = (this.#sequences.get(key) ?? 0) + 1
    this.#sequences.set(key, sequence)
    const number = this.messages.length
    const state = { firstSentTick: 0, sentCount: 0, isPromised: false, promisedTick: 0, story: [] }
    const message: Message = { ...given, number, sequence, isDeletion, isProbe, ...state }
    this.messages.push(message)
    return message
  }

  payload(message: Message): Buffer {
    if (message.isDeletion) return Buffer.alloc(0)
    const { number, publisher, sequence, paddingBytes } = message
    return Buffer.from(`${number} ${publisher} ${sequence} ${'x'.repeat(paddingBytes)}`)
  }

  /** The message to which topic and payload belong; null when nothing like it was sent. */
  find(topic: string, payload: Buffer): Message | null {
    const message = this.messages[Number.parseInt(payload.toString('latin1', 0, 12), 10)]
    return message?.topic === topic && this.payload(message).equals(payload) ? message : null
  }

  sent(message: Message, how: string): void {
    if (message.sentCount === 0) {
      message.firstSentTick = this.tick()
      if (message.retain) {
        const list = this.#retained.get(message.topic)
        if (list === undefined) this.#retained.set(message.topic, [message])
        else list.push(message)
      }
    }
    message.sentCount++
    this.note(message, message.publisher, `sent PUBLISH ${how}`)
    this.onSent()
  }

  promised(message: Message, by: string): void {
    this.note(message, message.publisher, `got ${by}`)
    message.isPromised = true
    message.promisedTick = this.tick()
    this.acknowledged(by)
  }

  acknowledged(what: string): void {
    this.tick()
    this.figures.acknowledgements++
    this.onAcknowledgement(what)
  }

  received(account: Account, message: Message, qos: number, connection: string): void {
    this.figures.deliveries++
    if (message.isProbe && account.owed(message) === null) {
      this.violate(
        'ended-subscription',
        `${account.name} got a message for which it has no Subscription`,
        message,
        account,
      )
    }
    if (account.has(message)) this.figures.redeliveries++
    const wrong = account.receive(message, qos, connection)
    if (wrong !== null) this.violate(wrong.kind, wrong.text, message, account, wrong.other)
  }

  /** Whether everything promised so far was received. Goes on where the last call has found something missing. */
  isComplete(): boolean {
    const last = this.#lastMissing
    this.#lastMissing = null
    if (last !== null && this.#findMissing(last)) return false
    return !this.#findMissing({ account: 0, message: 0 })
  }

  #findMissing(from: { account: number; message: number }): boolean {
    for (let index = from.account; index < this.#accounts.length; index++) {
      const account = this.#accounts[index]
      for (const message of this.#missing(account, index === from.account ? from.message : 0)) {
        if (this.#mayBeLost(account, message)) continue
        this.#lastMissing = { account: index, message: message.number }
        return true
      }
    }
    return false
  }

  *#missing(account: Account, from = 0): Generator<Message> {
    for (let number = from; number < this.messages.length; number++) {
      const message = this.messages[number]
      if (!message.isPromised || message.isDeletion || account.has(message)) continue
      if (account.owed(message) !== null) yield message
    }
  }

  #mayBeLost(account: Account, message: Message): boolean {
    if (!this.hasLeave) return false
    return this.isEndangered(message.promisedTick) || account.owed(message, (tick) => this.isEndangered(tick)) === null
  }

  /** At the end: what was promised and did not come. */
  settle(): void {
    for (const account of this.#accounts) {
      for (const message of this.#missing(account)) {
        if (this.#mayBeLost(account, message)) {
          this.figures.allowedLosses++
          continue
        }
        const kind = message.isProbe ? 'lost-subscription' : 'lost'
        this.violate(kind, `${account.name} did not get it`, message, account)
      }
    }
  }

  /** Topics with what a new subscriber must find; `values` as it was found. @returns topics whose value is not right */
  wrongRetained(values: ReadonlyMap<string, Message>): Map<string, string> {
    const wrong = new Map<string, string>()
    for (const [topic, sent] of this.#retained) {
      const promisedIndex = sent.findLastIndex(
        ({ isPromised, promisedTick }) => isPromised && !this.isEndangered(promisedTick),
      )
      const found = values.get(topic)
      const isRight =
        found === undefined
          ? promisedIndex === -1 || sent.some((message, index) => message.isDeletion && index >= promisedIndex)
          : sent.indexOf(found) >= promisedIndex
      if (isRight) continue
      const promised = sent[promisedIndex]
      const what = found === undefined ? 'nothing' : `message ${found.number}`
      const last = promised.isDeletion ? `its deletion by message ${promised.number}` : `message ${promised.number}`
      wrong.set(topic, `${topic} holds ${what}; acknowledged was ${last}`)
    }
    return wrong
  }

  lastPromisedRetained(topic: string): Message | null {
    return this.#retained.get(topic)?.findLast((message) => message.isPromised) ?? null
  }
}
