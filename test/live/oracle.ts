/** What a reader may and must have been told, given all that its stream ever had. */
import { payloadOf } from '../contract/expectations.ts'
import type { EventReader, Seen, Wish } from './event-reader.ts'
import { covers } from './filters.ts'
import type { State, StreamLog } from './native.ts'

/** Sequences where a reader may begin: it sees nothing before `may`, and misses nothing from `must` on. */
export interface Beginning {
  readonly may: number
  readonly must: number
}

/** The stream around the time at which a reader began: its bounds, and what is there for the reader's filters. */
export interface Snapshot {
  readonly state: State
  readonly matching: readonly number[]
}

/** Where a reader begins whose start was settled between two looks at the stream. */
export const beginningOf = ({ start, filters }: Wish, before: Snapshot, after: Snapshot): Beginning => {
  const [kind, value = ''] = start.split(':')
  const first = { may: Math.max(1, before.state.first_seq), must: Math.max(1, after.state.first_seq) }
  if (kind === 'new') return { may: before.state.last_seq + 1, must: after.state.last_seq + 1 }
  if (kind === 'seq')
    return { may: Math.max(first.may, Number(value)), must: Math.max(first.must, Number(value)) }
  if (kind !== 'tail') return first
  const purged = before.state.first_seq < after.state.first_seq
  const count = Number(value)
  // A message under several filters counts for each of them.
  const fewest = Math.ceil(count / Math.max(1, filters.length))
  // What came in between may have rolled others up: the tail is then longer after it than before.
  const longest = [before, after].map(({ matching }) => matching.at(-count) ?? 1)
  const shortest = [before, after].map(
    ({ matching, state }) => matching.at(-fewest) ?? matching[0] ?? state.last_seq + 1,
  )
  return { may: purged ? first.may : Math.max(first.may, Math.min(...longest)), must: Math.max(...shortest) }
}

/** What is wrong with what a reader was told; empty: nothing. */
export const complaintsAbout = async (
  reader: EventReader,
  beginning: Beginning,
  log: StreamLog,
): Promise<string[]> => {
  await log.state()
  return [
    ...reader.complaints,
    ...outOfOrder(reader.seen, beginning),
    ...falseMessages(reader, log),
    ...falseGaps(reader.seen, log),
    ...missing(reader, beginning, log),
  ]
}

const outOfOrder = (seen: readonly Seen[], { may }: Beginning) =>
  seen.flatMap((event, index) => {
    const before = seen[index - 1]?.seq ?? may - 1
    const first = event.kind === 'gap' ? event.fromSeq : event.seq
    return first > before && event.seq >= first ? [] : [`was told ${describe(event)} after ${before}`]
  })

const describe = (event: Seen) =>
  event.kind === 'gap' ? `gap ${event.fromSeq}–${event.seq}` : `${event.seq}`

const falseMessages = ({ seen, wish }: EventReader, log: StreamLog) =>
  seen.flatMap((event) => {
    if (event.kind !== 'message') return []
    const { seq, message } = event
    const stored = log.stored.get(seq)
    if (!stored) return [`was told of ${seq}, which nobody published`]
    const wanted = wish.filters.length === 0 || wish.filters.some((filter) => covers(filter, stored.subject))
    const told = JSON.stringify([message.stream, message.subject, message.headers])
    const put = JSON.stringify([log.name, stored.subject, stored.headers])
    const text = toText(stored.payload)
    const form = wish.payload === 'base64' || text === undefined ? 'data_base64' : 'data'
    return [
      ...(wanted ? [] : [`was told of ${seq} on ${stored.subject}, outside of its filters`]),
      ...(told === put ? [] : [`was told ${told} of ${seq}, published as ${put}`]),
      ...(payloadOf(message).equals(stored.payload) ? [] : [`was told another payload of ${seq}`]),
      ...(form in message && !((form === 'data' ? 'data_base64' : 'data') in message)
        ? []
        : [`was not told ${seq} as ${form}`]),
      ...(wish.payload !== 'json' || JSON.stringify(message.json) === JSON.stringify(toJson(text))
        ? []
        : [`was told another JSON of ${seq}`]),
    ]
  })

const toText = (payload: Uint8Array) => {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload)
  } catch {
    return undefined
  }
}

const toJson = (text = ''): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Only what was removed from the stream's beginning may be a gap. */
const falseGaps = (seen: readonly Seen[], { highestFirstSeq }: StreamLog) =>
  seen
    .filter(({ kind, seq }) => kind === 'gap' && seq >= highestFirstSeq)
    .map((gap) => `was told ${describe(gap)}, but the stream began at ${highestFirstSeq} at most`)

/** Everything that matches, up to where the reader is, has come, or is in a gap, or was removed by itself. */
const missing = ({ seen, wish, position }: EventReader, { must }: Beginning, log: StreamLog) => {
  const [first] = seen
  if (!first) return []
  const from = Math.min(must, first.kind === 'gap' ? first.fromSeq : first.seq)
  const excused = log.singlyRemoved()
  const told = new Set(seen.filter(({ kind }) => kind === 'message').map(({ seq }) => seq))
  const gaps = seen.filter((event) => event.kind === 'gap')
  const missed = [...log.stored]
    .filter(([seq]) => seq >= from && seq <= position && !told.has(seq) && !excused.has(seq))
    .filter(
      ([, { subject }]) =>
        wish.filters.length === 0 || wish.filters.some((filter) => covers(filter, subject)),
    )
    .map(([seq]) => seq)
    .filter((seq) => !gaps.some((gap) => seq >= gap.fromSeq && seq <= gap.seq))
    .sort((a, b) => a - b)
  return missed.length > 0 ? [`never heard of ${missed.join(', ')}; ${around(seen, missed)}`] : []
}

/** What was told on both sides of the first hole. */
const around = (seen: readonly Seen[], [first = 0]: readonly number[]) => {
  const behind = seen.findIndex(({ seq }) => seq > first)
  return `it was told ${seen
    .slice(Math.max(0, behind - 3), behind + 3)
    .map(describe)
    .join(', ')}`
}
