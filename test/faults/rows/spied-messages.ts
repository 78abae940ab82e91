/** The verdict over what a spy has heard: each message was asked for, or is one of those that the bridge may send. */
import type { FuzzedRequest, Intent } from './fuzzed-requests.ts'
import type { Spied } from './spy.ts'

const ID = /^"?m(\d+)!/
const NUID = /^[A-Z0-9]{22}$/
const NOT_IN_SUBJECTS = /[\s\p{C}]/u
/** Requests to JetStream that fuzzed requests lead to: the groups are names, and what stands behind them. */
const API: readonly RegExp[] = [
  /^(?:INFO|STREAM\.NAMES|STREAM\.LIST)$/,
  /^STREAM\.(?:INFO|CREATE|UPDATE|PURGE|MSG\.GET)\.([^.]+)$/,
  /^DIRECT\.GET\.([^.]+)(?:\.(.+))?$/,
  /^CONSUMER\.CREATE\.([^.]+)\.([^.]+)(?:\.(.+))?$/,
  /^CONSUMER\.(?:INFO|DELETE|MSG\.NEXT)\.([^.]+)\.([^.]+)$/,
]
const NAMES_IN_API = [0, 1, 1, 2, 2]
const EVENT_HEADER = /^(?:ce-[a-z0-9]+|Nats-Msg-Id|Content-Type): [^\p{C}]*$/u

export interface Judge {
  /** What a request asks for is known before it is sent. */
  expect(request: FuzzedRequest): void
  /** What is wrong with each message that nobody asked for. */
  judge(messages: readonly Spied[]): string[]
  /** How many messages were just what was asked for, and how many requests of the bridge's own there were. */
  readonly counts: Readonly<Record<'asked' | 'api' | 'replies', number>>
  /** How often a publish was heard. */
  heard(id: number): number
}

export function createJudge(): Judge {
  const intents = new Map<number, Intent>()
  const names = new Set(['FUZZ'])
  const filters = new Set<string>()
  const replies = new Set<string>()
  const seen = new Map<number, number>()
  const counts = { asked: 0, api: 0, replies: 0 }

  const faultOfApi = (path: string): string | undefined => {
    const at = API.findIndex((pattern) => pattern.test(path))
    const groups = API[at]?.exec(path)?.slice(1) ?? []
    if (at === -1) return 'is no request of the bridge'
    const ofNames = groups.slice(0, NAMES_IN_API[at])
    const behind = groups.slice(NAMES_IN_API[at]).filter((group) => group !== undefined)
    if (!ofNames.every((name) => names.has(name) || NUID.test(name))) return 'names what was not asked for'
    return behind.every((filter) => filters.has(filter)) ? undefined : 'has a filter that was not asked for'
  }

  /** JetStream delivers under the subject that a message was stored with. */
  const faultOfDelivery = ({ payload }: Spied): string | undefined => {
    const id = Number(ID.exec(payload.toString('utf8'))?.[1])
    return seen.has(id) ? undefined : 'has no reply of the bridge, and is nothing that is stored'
  }

  const faultOfAsked = (message: Spied): string | undefined => {
    const id = Number(ID.exec(message.payload.toString('utf8'))?.[1])
    const intent = intents.get(id)
    if (!intent) return isLook(message) ? undefined : 'was not asked for'
    seen.set(id, (seen.get(id) ?? 0) + 1)
    counts.asked += 1
    if (message.subject !== intent.subject) return `was asked for on ${JSON.stringify(intent.subject)}`
    if (NOT_IN_SUBJECTS.test(message.subject) || /(^|\.)([*>]?)(\.|$)/.test(message.subject))
      return 'has no subject'
    return intent.headerLines
      ? faultOfMessage(message, intent, intent.headerLines)
      : faultOfEvent(message, intent)
  }

  /** A look for a key: a publish that cannot be stored. */
  const isLook = ({ subject, payload, headerLines = [] }: Spied) =>
    payload.length === 0 &&
    headerLines.length === 2 &&
    headerLines.some((line) => line.startsWith('Nats-Expected-Last-')) &&
    [...intents.values()].some((intent) => intent.subject === subject)

  /** What a pull did not deliver goes back. */
  const isNak = ({ subject, payload }: Spied) => {
    const [, stream = '', consumer = ''] = /^\$JS\.ACK\.([^.]+)\.([^.]+)\.[\d.]+$/.exec(subject) ?? []
    return names.has(stream) && names.has(consumer) && payload.toString() === '-NAK'
  }

  const faultOf = (message: Spied): string | undefined => {
    const { subject, reply } = message
    if (subject.startsWith('_INBOX.') && replies.has(subject)) {
      counts.replies += 1
      return undefined
    }
    if (subject.startsWith('$JS.EVENT.ADVISORY.')) return undefined
    if (isNak(message)) return undefined
    if (reply === undefined || reply.startsWith('$JS.ACK.')) return faultOfDelivery(message)
    if (!reply.startsWith('_INBOX.')) return 'has no reply of the bridge'
    replies.add(reply)
    if (!subject.startsWith('$JS.API.')) return faultOfAsked(message)
    counts.api += 1
    return faultOfApi(subject.slice('$JS.API.'.length))
  }

  return {
    counts,
    heard: (id) => seen.get(id) ?? 0,
    expect(request) {
      for (const intent of request.intents) intents.set(intent.id, intent)
      for (const name of request.names) names.add(name)
      for (const filter of request.filters) filters.add(filter)
    },
    judge: (messages) =>
      messages.flatMap((message) => {
        const fault = faultOf(message)
        const { subject, headerLines, payload } = message
        const told = JSON.stringify([subject, headerLines, payload.toString('latin1').slice(0, 200)])
        return fault === undefined ? [] : [`${told} ${fault}`]
      }),
  }
}

const trimmed = (lines: readonly string[]) =>
  lines
    .map((line) => `${line.slice(0, line.indexOf(':'))}: ${line.slice(line.indexOf(':') + 1).trim()}`)
    .sort()

function faultOfMessage(
  { payload, headerLines = [] }: Spied,
  intent: Intent,
  asked: readonly string[],
): string | undefined {
  if (!payload.equals(Buffer.from(intent.payload)))
    return `was asked for as ${JSON.stringify(intent.payload)}`
  const [sent, wanted] = [JSON.stringify(trimmed(headerLines)), JSON.stringify(trimmed(asked))]
  return sent === wanted ? undefined : `was asked for with ${wanted}`
}

function faultOfEvent({ payload, headerLines = [] }: Spied, intent: Intent): string | undefined {
  const text = payload.toString('utf8')
  const data: unknown = text.startsWith('"') ? JSON.parse(text) : text
  if (data !== intent.payload) return `was asked for as ${JSON.stringify(intent.payload)}`
  const strange = headerLines.find((line) => !EVENT_HEADER.test(line))
  return strange === undefined ? undefined : `has the header ${JSON.stringify(strange)}`
}
