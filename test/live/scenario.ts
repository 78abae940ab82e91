/** What can happen to a stream and to its readers, as fast-check draws it. */
import fc from 'fast-check'
import type { Pace, Wish } from './event-reader.ts'

/** Below the stream's name, which stands in front. */
export const SUBJECTS = ['a', 'b', 'a.x', 'a.y', 'b.x', 'c.d.e'] as const
const FILTERS = ['>', '*', 'a', 'b', 'a.*', '*.x', 'a.>', 'b.>', '*.*', 'c.d.e', 'c.>', '*.d.*', 'never']

/** Messages from a seed, so that a scenario is short to print. */
export interface Batch {
  readonly count: number
  readonly maxBytes: number
  readonly seed: number
}

/** `reader`, `at`: shares of those there are, 0 to 1. */
export type Step =
  | { readonly kind: 'publish'; readonly batch: Batch }
  | { readonly kind: 'purge'; readonly how: 'all' | 'upTo' | 'keep' | 'filter'; readonly at: number }
  | { readonly kind: 'delete'; readonly at: readonly number[]; readonly newest: boolean }
  | {
      readonly kind: 'open'
      readonly wish: Wish
      readonly at: number
      readonly pace: Pace
      readonly meanwhile: 'nothing' | 'publish' | 'purge'
      readonly batch: Batch
    }
  | { readonly kind: 'pace'; readonly reader: number; readonly pace: Pace }
  | { readonly kind: 'cut'; readonly reader: number; readonly afterBytes: number; readonly batch: Batch }
  | { readonly kind: 'close'; readonly reader: number }
  | {
      readonly kind: 'outage'
      readonly how: 'pause' | 'restart' | 'crash' | 'cut' | 'deleteConsumers'
      readonly ms: number
      readonly batch: Batch
      /** What is purged before the bridge may have come to it; undefined: nothing. */
      readonly purgeTo: number | undefined
    }
  /** A live reader stops reading, and more comes than may wait for it. */
  | { readonly kind: 'drown'; readonly reader: number; readonly batch: Batch }
  | { readonly kind: 'settle' }

export interface Scenario {
  /** −1: none. */
  readonly maxMsgs: number
  readonly perSubject: number
  readonly direct: boolean
  readonly steps: readonly Step[]
}

const share = fc.noBias(fc.nat(1_000)).map((thousandths) => thousandths / 1_000)
const seed = fc.nat(0xff_ff_ff)
const small: fc.Arbitrary<Batch> = fc.record({
  count: fc.noBias(fc.integer({ min: 1, max: 40 })),
  maxBytes: fc.constantFrom(20, 300, 10_000),
  seed,
})
const flood: fc.Arbitrary<Batch> = fc.record({
  count: fc.noBias(fc.integer({ min: 400, max: 900 })),
  maxBytes: fc.constantFrom(1_000, 20_000),
  seed,
})
/** More than what waits for a reader that does not read, in memory and on its way. */
const deluge: fc.Arbitrary<Batch> = fc.record({
  count: fc.noBias(fc.integer({ min: 300, max: 600 })),
  maxBytes: fc.constant(60_000),
  seed,
})
const pace = fc.constantFrom<Pace>('fast', 'fast', 'slow', 'stopped')

const wish: fc.Arbitrary<Wish> = fc.record({
  filters: fc.oneof(
    fc.constant([]),
    fc.uniqueArray(fc.constantFrom(...FILTERS), { minLength: 1, maxLength: 3 }),
  ),
  start: fc.oneof(
    fc.constantFrom('beginning', 'new', 'seq'),
    fc.integer({ min: 1, max: 60 }).map((count) => `tail:${count}`),
  ),
  onGap: fc.constantFrom('skip', 'skip', 'error'),
  payload: fc.constantFrom('text', 'text', 'base64', 'json'),
})

const open = fc.record({
  kind: fc.constant('open' as const),
  wish,
  at: share,
  pace,
  meanwhile: fc.constantFrom('nothing', 'publish', 'purge'),
  batch: small,
})
const publish = (batch: fc.Arbitrary<Batch>) => fc.record({ kind: fc.constant('publish' as const), batch })

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: publish(small) },
  { weight: 2, arbitrary: publish(flood) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('purge' as const),
      how: fc.constantFrom('all', 'upTo', 'upTo', 'keep', 'filter'),
      at: share,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('delete' as const),
      at: fc.array(share, { minLength: 1, maxLength: 8 }),
      newest: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: open },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('pace' as const), reader: share, pace }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('cut' as const),
      reader: share,
      afterBytes: fc.noBias(fc.oneof(fc.nat(3_000), fc.nat(300_000))),
      batch: small,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('close' as const), reader: share }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('outage' as const),
      how: fc.constantFrom('pause', 'restart', 'crash', 'cut', 'cut', 'deleteConsumers'),
      ms: fc.noBias(fc.integer({ min: 10, max: 1_000 })),
      batch: small,
      purgeTo: fc.option(share, { nil: undefined }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('drown' as const), reader: share, batch: deluge }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('settle' as const) }) },
)

/** Begins with messages and a reader: without them nothing can go wrong. */
export const scenario: fc.Arbitrary<Scenario> = fc.record({
  maxMsgs: fc.constantFrom(-1, -1, -1, 50, 500),
  perSubject: fc.constantFrom(-1, -1, -1, 5),
  direct: fc.constantFrom(true, true, true, false),
  steps: fc
    .tuple(publish(small), open, fc.array(step, { minLength: 6, maxLength: 18 }))
    .map(([first, second, rest]) => [first, second, ...rest]),
})
