/** The proof that a refused credential is told so whatever its length: NATS closes right behind its refusal. */
import { expect, test } from 'vitest'
import { range } from '../contract/expectations.ts'
import { authorizationText, basic, onEveryHost } from './support.ts'
import { ADMIN, ALICE } from './users.ts'

/** Around the sizes at which a nats-server's reads of a new connection end. */
const LENGTHS = [...range(310, 350), ...range(1_335, 1_375)]

onEveryHost({ configText: authorizationText([ADMIN]) }, (guarded) => {
  test('401 unauthenticated for wrong passwords of any length', async () => {
    const ask = async (length: number) => {
      const headers = { Authorization: basic({ ...ALICE, password: 'x'.repeat(length) }) }
      const { status } = await fetch(`${guarded.bridge.url}/v1/streams`, { headers })
      return [length, status]
    }

    for (const length of LENGTHS) expect(await ask(length)).toEqual([length, 401])
  })
})
