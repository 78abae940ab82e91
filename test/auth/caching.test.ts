/** The proof that no cache hands to one credential what another was answered. */
import { expect, test } from 'vitest'
import { authorizationText, onEveryHost } from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

const PATH = 'GET /v1/streams/ORDERS/messages'
const FORMS = ['application/json', 'application/cloudevents+json', 'text/plain']

onEveryHost({ configText: authorizationText([ADMIN, ALICE, BOB]), prepare: makeStreams }, (guarded) => {
  test('an entity tag is of one credential, so that a cache has to ask for each what it may keep', async () => {
    await guarded.caller(ALICE).publish('orders.eu', 'x')
    for (const accept of FORMS) {
      for (const tail of ['1', 'last']) {
        const ask = (user: typeof ALICE, headers = {}) =>
          guarded.caller(user).send(`${PATH}/${tail}`, { headers: { Accept: accept, ...headers }, raw: true })
        const etag = (await ask(ALICE)).headers.get('ETag') ?? ''

        expect((await ask(ALICE, { 'If-None-Match': etag })).status).toBe(304)
        expect((await ask(ADMIN, { 'If-None-Match': etag })).status).toBe(200)
        expect((await ask(BOB, { 'If-None-Match': etag })).status).toBe(403)
        expect((await ask({ ...ALICE, password: 'x' }, { 'If-None-Match': etag })).status).toBe(401)
      }
    }
  })

  test('what a refused credential is told is kept by nobody', async () => {
    for (const user of [BOB, { ...ALICE, password: 'x' }]) {
      const { headers } = await guarded.caller(user).send(`${PATH}/1`)
      expect(headers.get('Cache-Control')).toBe('no-store')
      expect(headers.get('Vary')).toMatch(/\bAuthorization\b/)
    }
  })
})
