/** A page asked for ahead of what it is checked against, and answers that are of no use, on a real JetStream. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Session } from '../../src/context.ts'
import { createSessions, type Sessions } from '../../src/hosts/sessions.ts'
import type { Batch, JetStream } from '../../src/jetstream.ts'
import { readPage } from '../../src/live/history.ts'
import { createMetrics } from '../../src/metrics.ts'
import type { PageRequest, Position } from '../../src/reading.ts'
import { readSettings } from '../../src/settings.ts'
import { newTokenKey } from '../support/host.ts'
import { startNats } from '../support/nats.ts'

const PUBLISHED = 10

describe('readPage', () => {
  let nats: Awaited<ReturnType<typeof startNats>>
  let sessions: Sessions
  let session: Session
  let stream: string
  let made = 0

  const create = async () => {
    await session.jetstream.createStream({ name: stream, subjects: [stream], allow_direct: true })
    const payload = new Uint8Array(1)
    for (let n = 0; n < PUBLISHED; n += 1)
      await session.jetstream.publish({ subject: stream, payload, headers: {} })
  }

  beforeAll(async () => {
    nats = await startNats()
    const settings = { AUTH: 'none', NATS_URL: nats.wsUrl, TOKEN_KEYS: newTokenKey() }
    sessions = createSessions(readSettings(settings), createMetrics({}))
    session = sessions.open({ credential: { kind: 'own' }, tenant: 'own' })
  })
  beforeEach(async () => {
    made += 1
    stream = `PAGE${made}`
    await create()
  })
  afterAll(async () => {
    await sessions.close()
    await nats.stop()
  })

  const read = (position: Position, more: Partial<PageRequest> = {}, jetstream = session.jetstream) =>
    readPage(jetstream, {
      stream,
      filters: [],
      scope: session.cursors.scope(stream, []),
      from: { position },
      onGap: 'error',
      limit: 100,
      maxBytes: 1_000_000,
      ...more,
    })
  /** Right after the third message. */
  const third = async (): Promise<Position> =>
    (await readPage(session.jetstream, { ...base(), from: { start: { at: 'beginning' } }, limit: 3 }))
      .position
  const base = () => ({
    stream,
    filters: [],
    scope: session.cursors.scope(stream, []),
    onGap: 'error' as const,
    maxBytes: 1_000_000,
  })
  const seqs = ({ messages }: { messages: readonly { seq: number }[] }) => messages.map(({ seq }) => seq)

  /** JetStream whose leader answers `act` late: after the batch that was asked for with it. */
  const leaderAfterBatch = (act: () => Promise<unknown>) => {
    const { promise: batchRead, resolve } = Promise.withResolvers<void>()
    let batches = 0
    const jetstream: JetStream = {
      ...session.jetstream,
      async getBatch(...request) {
        batches += 1
        const batch = await session.jetstream.getBatch(...request)
        resolve()
        return batch
      },
      async streamInfo(...request) {
        await batchRead
        await act()
        return session.jetstream.streamInfo(...request)
      },
    }
    return { jetstream, batches: () => batches }
  }

  describe('asked for ahead', () => {
    it('the batch is not asked for again when the leader agrees', async () => {
      const { jetstream, batches } = leaderAfterBatch(async () => undefined)
      const page = await read(await third(), { eager: true, limit: 4 }, jetstream)
      expect([seqs(page), page.upToDate, page.position.seq, batches()]).toEqual([[4, 5, 6, 7], false, 7, 1])
    })

    it('the same as without, at the end and right before it', async () => {
      for (const seq of [PUBLISHED - 1, PUBLISHED]) {
        const { position } = await read(await third(), { limit: seq - 3 })
        expect(await read(position, { eager: true })).toEqual(await read(position))
      }
    })

    it('stream_recreated when the leader says that it was made again', async () => {
      const position = await third()
      const { jetstream } = leaderAfterBatch(async () => {
        await session.jetstream.deleteStream(stream)
        await create()
      })
      await expect(read(position, { eager: true }, jetstream)).rejects.toMatchObject({
        code: 'stream_recreated',
      })
    })

    it('the hole is told, and nothing in it given, when the leader says that messages are gone', async () => {
      const position = await third()
      const { jetstream } = leaderAfterBatch(() => session.jetstream.purgeStream(stream, { seq: 7 }))
      const page = await read(position, { eager: true, onGap: 'skip' }, jetstream)
      expect([page.gap, seqs(page)]).toEqual([{ fromSeq: 4, toSeq: 6 }, [7, 8, 9, 10]])
      await expect(read(position, { eager: true })).rejects.toMatchObject({ code: 'cursor_expired' })
    })

    it('one gap when the hole grows while it is read', async () => {
      const position = await third()
      await session.jetstream.purgeStream(stream, { seq: 6 })
      const { jetstream } = leaderAfterBatch(async () => undefined)
      const growing: JetStream = {
        ...jetstream,
        async streamInfo(...request) {
          const info = await jetstream.streamInfo(...request)
          await session.jetstream.purgeStream(stream, { seq: 8 })
          return info
        },
      }
      const page = await read(position, { eager: true, onGap: 'skip' }, growing)
      expect([page.gap, seqs(page)]).toEqual([{ fromSeq: 4, toSeq: 7 }, [8, 9, 10]])
    })

    it('read as ever when the stream has no Direct Get', async () => {
      const position = await third()
      const { config } = await session.jetstream.streamInfo(stream)
      await session.jetstream.updateStream({ ...config, allow_direct: false })
      expect(seqs(await read(position, { eager: true }))).toEqual([4, 5, 6, 7, 8, 9, 10])
    })
  })

  it('what is left, without a gap, when the head of the stream is removed under a read from the beginning', async () => {
    let keptFrom = 0
    const jetstream: JetStream = {
      ...session.jetstream,
      async getBatch(...request) {
        await session.jetstream.purgeStream(stream, { seq: keptFrom })
        return session.jetstream.getBatch(...request)
      },
    }
    for (const onGap of ['error', 'skip'] as const) {
      keptFrom += 4
      const page = await readPage(jetstream, {
        ...base(),
        onGap,
        limit: 100,
        from: { start: { at: 'beginning' } },
      })
      expect([seqs(page)[0], seqs(page).at(-1), page.gap]).toEqual([keptFrom, PUBLISHED, undefined])
    }
  })

  describe('a batch that does not go on', () => {
    const answering = (change: (batch: Batch) => Batch): JetStream => ({
      ...session.jetstream,
      getBatch: async (...request) => change(await session.jetstream.getBatch(...request)),
    })

    it.each<[string, (batch: Batch) => Batch]>([
      ['is empty, yet more is pending', () => ({ messages: [], numPending: 5 })],
      [
        'begins before what was asked for',
        ({ messages }) => ({
          messages: messages.map((one) => ({ ...one, seq: one.seq - 3 })),
          numPending: 5,
        }),
      ],
      [
        'has no sequences',
        ({ messages }) => ({
          messages: messages.map((one) => ({ ...one, seq: Number.NaN })),
          numPending: 5,
        }),
      ],
    ])('jetstream_unavailable when it %s', async (_, change) => {
      for (const eager of [false, true]) {
        await expect(read(await third(), { eager }, answering(change))).rejects.toMatchObject({
          code: 'jetstream_unavailable',
        })
      }
    })
  })
})
