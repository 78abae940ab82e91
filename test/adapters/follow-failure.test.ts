/** What becomes of a failure while a follower asks for more: it ends with it, and nothing fails unheard. */
import { expect, it } from 'vitest'
import { prepareConnection } from '../../src/adapters/nats/connection.ts'
import { follow } from '../../src/adapters/nats/follow.ts'
import { readSettings } from '../../src/settings.ts'
import { newTokenKey } from '../support/host.ts'
import { startNats } from '../support/nats.ts'
import { eventually, makeStream, open, publishText } from './support.ts'

it('ended with the failure when asking for more fails once the listener is ready', async () => {
  const nats = await startNats()
  const { jetstream, close } = open(nats.wsUrl)
  const stream = await makeStream(jetstream)
  await publishText(jetstream, `${stream}.a`, 'x'.repeat(2_000))
  const settings = readSettings({ AUTH: 'none', NATS_URL: nats.wsUrl, TOKEN_KEYS: newTokenKey() })
  const connection = prepareConnection(settings, { kind: 'own' })
  const ready = Promise.withResolvers<void>()
  const ended: unknown[] = []
  let isAsked = false
  try {
    await follow(connection, {
      stream,
      fromSeq: 1,
      listener: {
        get windowBytes() {
          if (isAsked) throw new Error('Nothing can be asked for now.')
          return 1_000
        },
        message: () => undefined,
        ready() {
          isAsked = true
          return ready.promise
        },
        ended: (failure) => void ended.push(failure),
      },
    })
    await eventually(() => isAsked)
    ready.resolve()
    await eventually(() => ended.length === 1)
    expect(ended).toMatchObject([{ code: 'internal' }])
  } finally {
    await connection.close()
    await close()
    await nats.stop()
  }
})
