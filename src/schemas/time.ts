/** Times with nanoseconds: beyond what a number or a `Date` can hold. */

const NANOS_PER_MS = 1_000_000n
const NANOS_PER_SECOND = 1_000_000_000n
const MS_PER_SECOND = 1_000

const RFC3339 =
  /^((\d{4}-\d{2})-(\d{2})T([01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d{1,9}))?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/

/** Nanoseconds since 1970 of an RFC 3339 time. Undefined where the text is not one. */
export function toNanos(time: string): bigint | undefined {
  const [, seconds, month, day, , fraction = '', zone] = RFC3339.exec(time) ?? []
  if (seconds === undefined || zone === undefined || !hasDay(month, day)) return undefined
  const ms = Date.parse(seconds + zone)
  if (Number.isNaN(ms)) return undefined
  return BigInt(ms) * NANOS_PER_MS + BigInt(fraction.padEnd(9, '0'))
}

/** Nanoseconds in 64 bits, as JetStream counts them: of other times it makes some time in between. */
const MAX_NANOS = 2n ** 63n - 1n

/** Whether a text is an RFC 3339 time that JetStream can count. */
export function isJetStreamTime(text: string): boolean {
  const nanos = toNanos(text)
  return nanos !== undefined && nanos <= MAX_NANOS && nanos >= -MAX_NANOS
}

/** Whether a month, as `yyyy-mm`, has a day: `Date` goes on into the next month where it does not. */
function hasDay(month = '', day = ''): boolean {
  return new Date(`${month}-${day}T00:00:00Z`).getUTCDate() === Number(day)
}

const ANY_TIME =
  /^(\d{4}-\d{2})-(\d{2})T(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d{1,30})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/i
const LEAP_SECOND = /:60(?=\.|z|[+-])/i

/** Whether a text is a time of RFC 3339, of any year. `leapSeconds`: also one that a clock has at the end of a month alone. */
export function isTime(text: string, { leapSeconds = false } = {}): boolean {
  const [, month, day] = ANY_TIME.exec(text) ?? []
  if (month === undefined || !hasDay(month, day)) return false
  return !LEAP_SECOND.test(text) || (leapSeconds && endsMonth(text))
}

/** Whether the second after a leap second is the first one of a month, in UTC. */
function endsMonth(text: string): boolean {
  const before = text.toUpperCase().replace(/:60(\.\d+)?/, ':59')
  const next = new Date(Date.parse(before) + MS_PER_SECOND)
  return next.getUTCDate() === 1 && next.getUTCHours() + next.getUTCMinutes() + next.getUTCSeconds() === 0
}

const SECONDS_LENGTH = 'yyyy-mm-ddThh:mm:ss'.length
const FRACTION_DIGITS = 9
const ZERO = '0'.charCodeAt(0)
let lastSeconds = { text: 'none yet', mark: 0 }

/**
 * The lowest 32 bits of a time's nanoseconds: two messages that differ in their time hardly ever agree in these.
 * Without `BigInt`, since it is asked for each message; messages of the same second come together.
 */
export function markOf(time: string): number {
  if (!time.endsWith('Z')) return Number(BigInt.asUintN(32, toNanos(time) ?? 0n))
  if (!time.startsWith(lastSeconds.text)) {
    const text = time.slice(0, SECONDS_LENGTH)
    lastSeconds = { text, mark: Math.imul((Date.parse(`${text}Z`) / MS_PER_SECOND) | 0, 1_000_000_000) }
  }
  return (lastSeconds.mark + fractionOf(time)) >>> 0
}

/** Nanoseconds within the second of a time that ends with `Z`. */
function fractionOf(time: string): number {
  const end = time.length - 1
  let nanos = 0
  for (let at = SECONDS_LENGTH + 1; at <= SECONDS_LENGTH + FRACTION_DIGITS; at++) {
    nanos = 10 * nanos + (at < end ? time.charCodeAt(at) - ZERO : 0)
  }
  return nanos
}

/** RFC 3339 UTC without trailing zeros in the fraction, as nats-server prints times. */
export function fromNanos(nanos: bigint): string {
  const seconds = nanos / NANOS_PER_SECOND
  const whole = new Date(Number(seconds) * MS_PER_SECOND).toISOString().slice(0, 'yyyy-mm-ddThh:mm:ss'.length)
  const fraction = (nanos % NANOS_PER_SECOND).toString().padStart(9, '0').replace(/0+$/, '')
  return fraction === '' ? `${whole}Z` : `${whole}.${fraction}Z`
}

/** What was printed last: messages that come together are mostly of one second. */
let printed = { seconds: 0, text: '1970-01-01T00:00:00' }

/** As `fromNanos`, for nanoseconds in decimal digits. */
export function fromNanosText(digits: string): string {
  const seconds = Number(digits.slice(0, -9))
  if (printed.seconds !== seconds) {
    const text = new Date(seconds * MS_PER_SECOND).toISOString().slice(0, 'yyyy-mm-ddThh:mm:ss'.length)
    printed = { seconds, text }
  }
  const fraction = digits.slice(-9).padStart(9, '0').replace(/0+$/, '')
  return fraction === '' ? `${printed.text}Z` : `${printed.text}.${fraction}Z`
}

/** RFC 3339 UTC with milliseconds. */
export function fromMs(ms: number): string {
  return new Date(ms).toISOString()
}

const NANOS_PER_MS_NUMBER = 1_000_000

/**
 * Whether two creation times are of the same stream or consumer: nats-server 2.10 says another one after a restart, which it
 * had taken up to half a millisecond later. In so short a time nothing is made, deleted and made again.
 */
export function isSameCreation(one: string, other: string): boolean {
  if (one === other) return true
  const apart = (toNanos(one) ?? 0n) - (toNanos(other) ?? 0n)
  return apart > -NANOS_PER_MS && apart < NANOS_PER_MS
}

/** A JetStream duration in whole milliseconds, rounded up so that a limit never reads as none. */
export function nanosToMs(nanos: number): number {
  return Math.ceil(nanos / NANOS_PER_MS_NUMBER)
}

export function msToNanos(ms: number): number {
  return ms * NANOS_PER_MS_NUMBER
}
