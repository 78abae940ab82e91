/** The checker of the fault matrix finds what is wrong with a run, each way in which it can be. */
import { describe, expect, test } from 'vitest'
import { range } from '../contract/expectations.ts'
import { randomFor } from '../publishing/seeded.ts'
import { check, type RunRecord } from './load/checker.ts'
import { slopeOf } from './load/slopes.ts'

const SUBJECT = 'orders.eu'
const payloadOf = (seq: number) => `message ${seq}`

/** Five messages, all of it as it should be. */
function goodRun(): RunRecord {
  const stored = range(1, 5).map((seq) => ({ seq, subject: SUBJECT, payload: payloadOf(seq) }))
  return {
    truth: new Map(stored.map((message) => [message.seq, message])),
    fates: stored.map(({ seq, payload }) => ({
      payload,
      subject: SUBJECT,
      isKeyed: true,
      seq,
      isDenied: false,
    })),
    readers: [
      { name: 'all', filter: undefined, seen: stored.map((message) => ({ kind: 'message', ...message })) },
      { name: 'none', filter: 'orders.us', seen: [] },
    ],
    handed: stored.map(({ seq, payload }) => ({ seq, payload, count: 1, at: seq })),
    exchanges: [
      {
        actor: 'a',
        request: 'GET /',
        beganAt: 0,
        endedAt: 10,
        deadlineMs: 20,
        outcome: { status: 200, code: undefined },
      },
    ],
    mayBreak: false,
  }
}

const [exchange] = goodRun().exchanges
const [all] = goodRun().readers
const seen = all?.seen ?? []
const without = (seq: number) => seen.filter((event) => event.seq !== seq)
const reading = (events: typeof seen): Partial<RunRecord> => ({
  readers: [{ name: 'all', filter: undefined, seen: events }],
})
const unconfirmed = { payload: payloadOf(5), subject: SUBJECT, seq: undefined }
const twice = { seq: 6, subject: SUBJECT, payload: payloadOf(5) }
const ended = (outcome: object, endedAt = 10) => ({
  exchanges: [{ ...exchange, endedAt, outcome }] as unknown as RunRecord['exchanges'],
})

describe('the checker', () => {
  test('has nothing to say of a run in which all is well', () => {
    expect(check(goodRun())).toEqual([])
  })

  test.each<[string, string, Partial<RunRecord>]>([
    [
      'I1',
      'a confirmed publish is not there',
      { fates: [{ ...unconfirmed, payload: 'lost', seq: 5, isKeyed: false, isDenied: false }] },
    ],
    [
      'I1',
      'a confirmed publish is somewhere else',
      { fates: [{ ...unconfirmed, seq: 4, isKeyed: false, isDenied: false }] },
    ],
    [
      'I1',
      'a publish with a key was never confirmed',
      { fates: [{ ...unconfirmed, isKeyed: true, isDenied: false }] },
    ],
    [
      'I1',
      'a publish is there whose failure denied it',
      { fates: [{ ...unconfirmed, isKeyed: false, isDenied: true }] },
    ],
    ['I2', 'a reader was not told of a message', reading(without(3))],
    [
      'I2',
      'a reader was told of a gap instead of a message',
      reading([...seen.slice(0, 4), { kind: 'gap', seq: 5, fromSeq: 5 }]),
    ],
    [
      'I2',
      'a reader was told another payload',
      reading([{ kind: 'message', seq: 1, subject: SUBJECT, payload: 'other' }]),
    ],
    ['I3', 'a reader was told a message twice', reading([...seen, ...seen.slice(-1)])],
    ['I3', 'a reader was told messages out of order', reading([...without(2), ...seen.slice(1, 2)])],
    ['I5', 'a message was never handed to a worker', { handed: goodRun().handed.slice(1) }],
    [
      'I5',
      'a worker was handed something else',
      { handed: goodRun().handed.map((one) => ({ ...one, payload: 'other' })) },
    ],
    ['I9', 'a request took too long', ended({ status: 200, code: undefined }, 21)],
    ['I9', 'a connection broke', ended({ broken: 'reset' })],
    ['I9', 'something failed inside the bridge', ended({ status: 500, code: 'internal' })],
    [
      'I9',
      'a failure of the servers is told as one of the client',
      ended({ status: 404, code: 'stream_not_found' }),
    ],
    ['I9', 'a code is not documented', ended({ status: 503, code: 'strange' })],
  ])('says that %s is broken where %s', (invariant, _, broken) => {
    const found = check({ ...goodRun(), ...broken })
    expect(found.map((breach) => breach.invariant)).toContain(invariant)
  })

  test('says that I4 is broken where a publish is there twice', () => {
    const run = goodRun()
    const found = check({
      ...run,
      truth: new Map([...run.truth, [twice.seq, twice]]),
      handed: [...run.handed, { ...twice, count: 1, at: 6 }],
    })
    expect(found.map(({ invariant }) => invariant)).toContain('I4')
  })

  test('lets a connection break where the way to the bridge was broken', () => {
    expect(check({ ...goodRun(), ...ended({ broken: 'reset' }), mayBreak: true })).toEqual([])
  })
})

describe('a slope', () => {
  const random = randomFor('slopes', 1)
  const samples = (growth: number) =>
    range(0, 359).map((n) => ({ at: 5 * n, value: 100 + growth * n + 10 * (random() - 0.5) }))

  test('is within its noise where nothing grows', () => {
    const { drift, noise } = slopeOf(samples(0))
    expect(Math.abs(drift)).toBeLessThan(noise)
  })

  test('is beyond its noise where something grows by less than the noise of a sample', () => {
    const { drift, noise } = slopeOf(samples(0.02))
    expect(drift).toBeGreaterThan(noise)
  })
})
