/** The `Nats-*` headers that a publisher may set: their form, what they mean, and which server heeds them. */
import { BridgeError, refuse } from '../errors.ts'
import type { MessageHeaders, ServerInfo } from '../jetstream.ts'
import { MAX_TEXT_CHARS } from './bounds.ts'
import { filterFault, subjectFault } from './names.ts'
import { isReserved, reservedSubject } from './reserved-subjects.ts'
import { isJetStreamTime } from './time.ts'
import * as z from './zod.ts'

export const MSG_ID = 'Nats-Msg-Id'
/** Where a message of an atomic batch stands in it, from 1, and that it is the last one. */
export const BATCH_SEQUENCE = 'Nats-Batch-Sequence'
export const BATCH_COMMIT = 'Nats-Batch-Commit'
export const TTL = 'Nats-TTL'
export const ROLLUP = 'Nats-Rollup'
export const INCR = 'Nats-Incr'
export const EXPECTED_STREAM = 'Nats-Expected-Stream'
export const EXPECTED_LAST_SEQ = 'Nats-Expected-Last-Sequence'
export const EXPECTED_LAST_SUBJECT_SEQ = 'Nats-Expected-Last-Subject-Sequence'
export const EXPECTED_LAST_SUBJECT_SEQ_SUBJECT = 'Nats-Expected-Last-Subject-Sequence-Subject'
export const EXPECTED_LAST_MSG_ID = 'Nats-Expected-Last-Msg-Id'
export const SCHEDULE = 'Nats-Schedule'
export const SCHEDULE_TARGET = 'Nats-Schedule-Target'
export const SCHEDULE_TTL = 'Nats-Schedule-TTL'
export const SCHEDULE_SOURCE = 'Nats-Schedule-Source'
export const SCHEDULE_TIME_ZONE = 'Nats-Schedule-Time-Zone'
export const SCHEDULE_ROLLUP = 'Nats-Schedule-Rollup'
export const SCHEDULER = 'Nats-Scheduler'
export const SCHEDULE_NEXT = 'Nats-Schedule-Next'

/** JetStream's API levels. Source: NATS ADR-44, Versioning for JetStream Assets. */
export const LEVEL_OF_2_11 = 1
export const LEVEL_OF_2_12 = 2
export const LEVEL_OF_2_14 = 4
/** The server release that brought an API level. */
const RELEASES: Readonly<Record<number, string>> = {
  [LEVEL_OF_2_11]: '2.11',
  [LEVEL_OF_2_12]: '2.12',
  [LEVEL_OF_2_14]: '2.14',
}

interface NatsHeader {
  readonly pattern: RegExp
  /** What a value must be, where it is not of the pattern. */
  readonly must: string
  /** What else is wrong with a value, where it is of the pattern. */
  readonly fault?: (value: string) => string | undefined
  readonly description: string
  readonly example: string
  /** JetStream's API level that heeds it, by its value: an older server would store it and do nothing. Default 0. */
  readonly level?: (value: string) => number
  /** Without this header it would be stored and not heeded. */
  readonly needs?: string
}

const ANY = { pattern: /^.+$/, must: 'must not be empty' }
const SEQUENCE = { pattern: /^\d{1,16}$/, must: 'must be a sequence' }
const LIFETIME = {
  pattern: /^(never|\d{1,10}|(\d{1,15}(\.\d{1,9})?(ns|us|µs|ms|s|m|h)){1,8})$/,
  must: 'must be whole seconds, a duration such as 1h30m, or never',
}
const since2_11 = () => LEVEL_OF_2_11
const since2_12 = () => LEVEL_OF_2_12
const since2_14 = () => LEVEL_OF_2_14
const AT = '@at '
/** JetStream itself goes on into the next month where a day is none. */
const scheduleFault = (value: string) =>
  value.startsWith(AT) && !isJetStreamTime(value.slice(AT.length))
    ? 'must have an RFC 3339 time behind @at'
    : undefined

/** By the name that JetStream gives it. Sources: NATS ADR-8, ADR-43, ADR-49, ADR-51. */
const BY_NAME: Readonly<Record<string, NatsHeader>> = {
  [TTL]: {
    ...LIFETIME,
    description: 'How long the message lives: seconds, or such as `1h`, or `never`; NATS 2.11.',
    example: '1h',
    level: since2_11,
  },
  [ROLLUP]: {
    pattern: /^(sub|all)$/,
    must: 'must be sub or all',
    description: 'Removes what came before it: `sub` in its subject, `all` in the whole stream.',
    example: 'sub',
  },
  [INCR]: {
    pattern: /^[+-]?\d{1,100}$/,
    must: 'must be a whole number, such as +1',
    description: 'Adds to the counter of the subject; NATS 2.12.',
    example: '+1',
    level: since2_12,
  },
  [EXPECTED_STREAM]: { ...ANY, description: 'The stream that must store it.', example: 'ORDERS' },
  [EXPECTED_LAST_SEQ]: {
    ...SEQUENCE,
    description: 'The last sequence of the stream must be this one.',
    example: '41',
  },
  [EXPECTED_LAST_SUBJECT_SEQ]: {
    ...SEQUENCE,
    description: "The last sequence of the subject must be this one: JetStream's word for `If-Match`.",
    example: '41',
  },
  [EXPECTED_LAST_SUBJECT_SEQ_SUBJECT]: {
    ...ANY,
    fault: filterFault,
    description: 'The subject, or a filter, that the expected last subject sequence is of; NATS 2.12.',
    example: 'orders.eu.>',
    level: since2_12,
    needs: EXPECTED_LAST_SUBJECT_SEQ,
  },
  [EXPECTED_LAST_MSG_ID]: {
    ...ANY,
    description: 'The last message of the stream must have this `Nats-Msg-Id`, as reads show it.',
    example: 'order-6',
  },
  [SCHEDULE]: {
    ...ANY,
    fault: scheduleFault,
    description:
      'Keeps the message, and publishes it to `Nats-Schedule-Target` later: `@at 2026-11-20T10:00:00Z` (NATS 2.12), or ' +
      'again and again: six fields of cron, `@every 5m`, `@hourly` (NATS 2.14). A subject holds one schedule.',
    example: '@at 2026-11-20T10:00:00Z',
    level: (value) => (value.startsWith(AT) ? LEVEL_OF_2_12 : LEVEL_OF_2_14),
    needs: SCHEDULE_TARGET,
  },
  [SCHEDULE_TARGET]: {
    ...ANY,
    fault: subjectFault,
    description: 'The subject of the same stream that a schedule publishes to.',
    example: 'orders.eu.42',
    level: since2_12,
    needs: SCHEDULE,
  },
  [SCHEDULE_TTL]: {
    ...LIFETIME,
    description: 'The `Nats-TTL` of the messages that a schedule publishes.',
    example: '5m',
    level: since2_12,
    needs: SCHEDULE,
  },
  [SCHEDULE_SOURCE]: {
    ...ANY,
    fault: subjectFault,
    description: 'A schedule publishes the last message of this subject instead of its own; NATS 2.14.',
    example: 'sensors.raw.7',
    level: since2_14,
    needs: SCHEDULE,
  },
  [SCHEDULE_TIME_ZONE]: {
    ...ANY,
    description: "The time zone of a schedule's cron fields; UTC where there is none; NATS 2.14.",
    example: 'Europe/Amsterdam',
    level: since2_14,
    needs: SCHEDULE,
  },
  [SCHEDULE_ROLLUP]: {
    pattern: /^sub$/,
    must: 'must be sub',
    description: 'The `Nats-Rollup` of the messages that a schedule publishes; NATS 2.14.',
    example: 'sub',
    level: since2_14,
    needs: SCHEDULE,
  },
  [SCHEDULER]: {
    ...ANY,
    fault: subjectFault,
    description:
      'With `Nats-Schedule-Next`: the subject of the schedule that ends with this message; NATS 2.14.',
    example: 'schedules.orders.42',
    level: since2_14,
    needs: SCHEDULE_NEXT,
  },
  [SCHEDULE_NEXT]: {
    pattern: /^purge$/,
    must: 'must be purge',
    description: 'Ends the schedule that `Nats-Scheduler` names, in one step with this message; NATS 2.14.',
    example: 'purge',
    level: since2_14,
    needs: SCHEDULER,
  },
}

/** A publisher names headers as it likes, also `constructor`: a plain object would know that one. */
const NATS_HEADERS: ReadonlyMap<string, NatsHeader> = new Map(Object.entries(BY_NAME))

const SPELLINGS = new Map(Object.keys(BY_NAME).map((name) => [name.toLowerCase(), name]))

/** JetStream's spelling of a name, whatever its case; undefined where a publisher may not set it. */
export function spelledNatsHeader(name: string): string | undefined {
  return SPELLINGS.get(name.toLowerCase())
}

/** Throws `invalid_request` naming a header that would be stored without its meaning; `named` tells it as it was said. */
export function checkNatsHeaders(
  headers: MessageHeaders,
  named: (header: string) => string = (header) => header,
): void {
  for (const name in headers) {
    const known = NATS_HEADERS.get(name)
    if (!known) continue
    const [value = '', ...more] = headers[name] ?? []
    if (more.length > 0) throw refuse(named(name), 'must have one value')
    const fault = known.pattern.test(value) ? known.fault?.(value) : known.must
    if (fault !== undefined) throw refuse(named(name), fault)
    if (known.needs !== undefined && headers[known.needs] === undefined)
      throw refuse(named(name), `needs ${named(known.needs)}`)
    if (name === SCHEDULE_TARGET && isReserved(value)) throw reservedSubject(value, named(name))
  }
}

/** Throws `not_supported` where the server would store a header and not heed it. */
export function requireHeed(headers: MessageHeaders, { apiLevel, version }: ServerInfo): void {
  for (const name in headers) {
    const level = NATS_HEADERS.get(name)?.level?.(headers[name]?.[0] ?? '') ?? 0
    if (level > apiLevel) throw notSupported(name, level, version)
  }
}

/** `what` needs a newer server than `version`. */
export function notSupported(what: string, level: number, version: string): BridgeError {
  return new BridgeError('not_supported', `${what} needs NATS ${RELEASES[level]}; the server is ${version}.`)
}

/** Their part of a contract's request headers, with names in lower case. */
export const natsHeaderSchemas = Object.fromEntries(
  Object.entries(BY_NAME).map(([name, { pattern, must, description, example }]) => [
    name.toLowerCase(),
    z.string().max(MAX_TEXT_CHARS).regex(pattern, must).optional().openapi({ description, example }),
  ]),
)
