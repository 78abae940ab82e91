/** The clients that publish, and whether what they were told of each message is so. */

import type { Stored } from './simulated-stream.ts'
import type { Problem } from './world.ts'
import { STREAM, type World } from './world.ts'

export interface Wish {
  readonly subject: string
  /** Undefined: none. The same key goes with the same message, but for a `conflict`. */
  readonly key: number | undefined
  readonly conflict: boolean
  /** A condition that holds, or does not; or that there be no message. */
  readonly match: 'any' | 'right' | 'wrong' | 'none'
}

interface Attempt {
  readonly subject: string
  readonly payload: string
  readonly key: string | undefined
  readonly expected: number | undefined
  readonly invokedOp: number
  returnedOp: number
  outcome: { readonly seq: number; readonly duplicate: boolean } | Problem | 'unsent' | undefined
}

interface Published {
  readonly seq: number
  readonly duplicate: boolean
  readonly cursor: string
}

type Result = { readonly index?: number; readonly error?: Problem } & Partial<Published>

export class Publications {
  /** Cursors that publishes answered. */
  readonly cursors: string[] = []
  readonly #world: World
  readonly #attempts: Attempt[] = []

  constructor(world: World) {
    this.#world = world
  }

  async publish(wish: Wish): Promise<void> {
    const attempt = this.#begin(wish)
    const { expected, key, payload, subject } = attempt
    const condition: Record<string, string> =
      wish.match === 'none'
        ? { 'If-None-Match': '*' }
        : expected === undefined
          ? {}
          : { 'If-Match': `"${expected}"` }
    const { status, text, returnedOp } = await this.#world.ask(`/v1/subjects/${subject}/messages`, {
      method: 'POST',
      headers: { ...condition, ...(key === undefined ? {} : { 'Idempotency-Key': key }) },
      body: payload,
    })
    const said = JSON.parse(text) as Published & Problem
    attempt.returnedOp = returnedOp
    attempt.outcome = said
    if (status < 300) this.cursors.push(said.cursor)
    if (status < 300 && (status === 200) !== said.duplicate)
      this.#world.complain(`a publish was answered ${status} ${text}`)
  }

  /** Many at once, by lines or in one document. */
  async publishMany(wishes: readonly Wish[], form: 'lines' | 'batch'): Promise<void> {
    const attempts = wishes.map((wish) => this.#begin(wish))
    const messages = attempts.map(({ subject, payload, key, expected }) => ({
      subject,
      data: payload,
      ...(key === undefined ? {} : { id: key }),
      ...(expected === undefined ? {} : { expected_last_subject_seq: expected }),
    }))
    const isLines = form === 'lines'
    const { status, text, returnedOp } = await this.#world.ask('/v1/messages', {
      method: 'POST',
      headers: { 'Content-Type': isLines ? 'application/x-ndjson' : 'application/json' },
      body: isLines ? messages.map((one) => JSON.stringify(one)).join('\n') : JSON.stringify({ messages }),
    })
    const results = status >= 300 ? [] : readResults(text, isLines)
    for (const [index, attempt] of attempts.entries()) {
      const result = results.find((one) => one.index === index)
      attempt.returnedOp = returnedOp
      attempt.outcome = result?.error ?? (result as Published | undefined) ?? 'unsent'
    }
    if (results.length < attempts.length && status < 300 && results.at(-1)?.index !== undefined)
      this.#world.complain(
        `${form} were answered with ${results.length} results for ${attempts.length}: ${text}`,
      )
  }

  /** Everything that is wrong with what publishers were told. */
  complaints(): string[] {
    const byPayload = new Map<string, Stored[]>()
    for (const { log } of this.#world.jetstream.history)
      for (const stored of log) {
        const payload = Buffer.from(stored.payload).toString()
        byPayload.set(payload, [...(byPayload.get(payload) ?? []), stored])
      }
    return [
      ...this.#attempts.flatMap((attempt) =>
        this.#complaintsAbout(attempt, byPayload.get(attempt.payload) ?? []).map(
          (text) => `The publish ${JSON.stringify(attempt)} ${text}`,
        ),
      ),
      ...this.#storedTwice(),
    ]
  }

  #begin({ subject, key, conflict, match }: Wish): Attempt {
    const { ops, stream } = this.#world
    const number = this.#attempts.length
    // The same key comes with the same subject.
    const full = `${STREAM}.${key === undefined ? subject : ['a', 'b'][key % 2]}`
    const last = stream?.lastOf(full)?.seq ?? 0
    const expected = { any: undefined, right: last, wrong: last + 1, none: 0 }[match]
    const attempt: Attempt = {
      subject: full,
      payload: key === undefined || conflict ? `p${number}` : `k${key}`,
      key: key === undefined ? undefined : `key${key}`,
      expected,
      invokedOp: ops,
      returnedOp: Number.POSITIVE_INFINITY,
      outcome: undefined,
    }
    this.#attempts.push(attempt)
    return attempt
  }

  #complaintsAbout(attempt: Attempt, stored: readonly Stored[]): string[] {
    const { outcome, payload, invokedOp, returnedOp } = attempt
    if (outcome === undefined) return ['was never answered']
    const own = stored.filter(({ storedOp }) => storedOp > invokedOp)
    if (outcome === 'unsent' || 'code' in outcome) {
      const isSure = outcome === 'unsent' || outcome.side_effects === 'none'
      const isShared = this.#attempts.some((other) => other !== attempt && other.payload === payload)
      const isStored = own.some((one) => one.removedAs !== 'lost' && this.#world.stream?.log.includes(one))
      return isSure && !isShared && isStored ? ['was stored, though it says it was not'] : []
    }
    const { seq, duplicate } = outcome
    const found = stored.filter(
      (one) => one.seq === seq && one.storedOp <= returnedOp && (duplicate || one.storedOp > invokedOp),
    )
    // What the stream no longer has cannot be compared.
    const isForgotten = duplicate && this.#removedWithKey(attempt, seq)
    if (found.length === 0) return isForgotten ? [] : ['is not in the stream']
    if (attempt.key === undefined && own.length > 1) return ['was stored twice']
    if (duplicate || attempt.expected === undefined) return []
    const before = found.map(({ previousOfSubject }) => previousOfSubject)
    return before.includes(attempt.expected)
      ? []
      : [`was stored after ${before.join(', ')}, against its condition`]
  }

  /** Also where its whole stream is gone. */
  #removedWithKey({ key, returnedOp }: Attempt, seq: number): boolean {
    const isOne = (one: Stored) => one.seq === seq && one.headers['Nats-Msg-Id']?.[0] === key
    return this.#world.jetstream.history.some(({ log, deletedOp }) =>
      log.some((one) => isOne(one) && Math.min(one.removedOp, deletedOp) <= returnedOp),
    )
  }

  #storedTwice(): string[] {
    return this.#world.jetstream.history.flatMap(({ log, config }) =>
      log.flatMap((stored, index) => {
        const key = stored.headers['Nats-Msg-Id']?.[0]
        const before = log
          .slice(0, index)
          .findLast((one) => key !== undefined && one.headers['Nats-Msg-Id']?.[0] === key)
        if (!before || (before.removedAs === 'lost' && before.removedOp < stored.storedOp)) return []
        const isRemembered = stored.storedAtMs - before.storedAtMs < config.duplicate_window / 1e6
        return isRemembered ? [`The key ${key} was stored at ${before.seq} and ${stored.seq}`] : []
      }),
    )
  }
}

function readResults(text: string, isLines: boolean): Result[] {
  if (!isLines) return (JSON.parse(text) as { results: Result[] }).results
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Result)
}
