/** Requests that are refused before their body is read: whoever still sends hears the refusal. */
import { describe, expect, test } from 'vitest'
import { basic, onEveryHost, usersText } from '../auth/support.ts'
import { range } from '../contract/expectations.ts'
import { sendBare } from '../faults/rows/bare-http.ts'

const ALICE = { name: 'alice', password: 'alice-password' }
const BODY = Buffer.alloc(3_000_000, 'x')
const TIMES = 10

/** Why each is refused, with what it says of who sends it, and where it goes. */
const REFUSED = [
  ['of nobody', 401, [], '/v1/subjects/orders.a/messages'],
  ['of a wrong password', 401, [`Authorization: ${basic({ ...ALICE, password: 'wrong' })}`], '/v1/messages'],
  ['to no path', 404, [`Authorization: ${basic(ALICE)}`], '/v1/nothing'],
  ['from a page that is not listed', 403, ['Origin: https://elsewhere.example'], '/v1/acks'],
  ['to no subject', 404, [`Authorization: ${basic(ALICE)}`], '/v1/subjects/$SYS.a/messages'],
] as const

onEveryHost({ configText: `accounts { A { jetstream: enabled, ${usersText([ALICE])} } }` }, (guarded) => {
  describe('a request whose body is not read', () => {
    test.each(REFUSED)(
      'is answered while 3 MB of it are on their way: %s',
      async (_, status, lines, path) => {
        const head = [
          `POST ${path} HTTP/1.1`,
          'Host: localhost',
          'Content-Type: application/json',
          `Content-Length: ${BODY.length}`,
          ...lines,
          '',
          '',
        ]
        const pieces = [Buffer.from(head.join('\r\n')), BODY]
        for (const _ of range(1, TIMES)) {
          const { how, answer } = await sendBare(guarded.host.url, { pieces, withinMs: 20_000 })
          expect([how, answer?.status]).toEqual(['answered', status])
        }
      },
    )
  })
})
