/** The tests of failures: what a client sent stands in them in part alone, since they may wait long for it. */
import { expect, test } from 'vitest'
import { BridgeError, refuse, toProblem } from '../src/errors.ts'

const LONG = 'ü'.repeat(1_000_000)

test('a failure keeps no more of its texts than it tells', () => {
  const errors = Array.from({ length: 100 }, () => ({ field: LONG, message: LONG }))
  const failure = new BridgeError('invalid_request', LONG, { errors })

  expect(failure.message).toBe(`${LONG.slice(0, 1_023)}…`)
  expect(failure.errors).toHaveLength(20)
  expect(failure.errors?.[0]).toEqual({ field: `${LONG.slice(0, 255)}…`, message: `${LONG.slice(0, 511)}…` })
  expect(toProblem(failure, 'id')).toMatchObject({ detail: failure.message, errors: failure.errors })
})

test('no character is cut in two', () => {
  const pairs = '😀'.repeat(1_000)
  expect(refuse(pairs, 'must be short').errors?.[0]?.field).toBe(`${'😀'.repeat(127)}…`)
})
