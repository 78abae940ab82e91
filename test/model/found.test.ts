/** Sequences in which the model test has found something: each stays mended. */
import { expect, it } from 'vitest'
import { type Step, StepCommand } from './commands.ts'
import { play } from './play.ts'
import type { Setup } from './world.ts'

const SETUP: Setup = {
  seed: 0,
  host: 'node',
  maxMsgs: -1,
  perSubject: -1,
  direct: true,
  replicas: 1,
  maxAckPending: 1_000,
}
const wish = { subject: 'a', key: undefined, conflict: false, match: 'any' } as const

const FOUND: readonly (readonly [string, readonly Step[]])[] = [
  [
    'nothing is given back whose ack wait is over, when the consumer could not be asked in time',
    [
      { kind: 'publishMany', wishes: [wish, wish, { ...wish, key: 0 }], form: 'lines', pause: undefined },
      { kind: 'lose', call: 'api', loss: 'request', pause: 0 },
      { kind: 'pull', batch: 1, waitMs: 0, pause: 0 },
      { kind: 'pass', ms: 2_500, pause: 0 },
      { kind: 'pull', batch: 1, waitMs: 0, pause: undefined },
    ],
  ],
]

it.each(FOUND)('%s', async (_, steps) => {
  const complaints = await play(
    SETUP,
    steps.map((step) => new StepCommand(step)),
  )
  expect(complaints).toEqual([])
})
