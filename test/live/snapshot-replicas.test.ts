/** The last message of each subject of a stream with replicas, read from one that has not heard of the newest message yet. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Session } from '../../src/context.ts'
import { isPassing } from '../../src/errors.ts'
import { createSessions, type Sessions } from '../../src/hosts/sessions.ts'
import { createMetrics } from '../../src/metrics.ts'
import type { ReadOrigin } from '../../src/reading.ts'
import { readSettings } from '../../src/settings.ts'
import { until } from '../contract/expectations.ts'
import { leaderOf } from '../publishing/leader.ts'
import { newTokenKey } from '../support/host.ts'
import { startCluster, type TestCluster } from '../support/nats.ts'
import { type Native, openNative } from './native.ts'

const SUBJECTS = 8
const READS = 1_500

describe.each([
  ['Direct Get', true],
  ['a consumer', false],
])('start=last_per_subject by %s on a stream with replicas', (_, allowDirect) => {
  const stream = 'R'
  let cluster: TestCluster
  let native: Native
  let sessions: Sessions
  let session: Session

  /** Published at the leader, read at another node. */
  beforeAll(async () => {
    cluster = await startCluster()
    const [first] = cluster.nodes
    native = await openNative(first?.wsUrl ?? '')
    await native.ask(`STREAM.CREATE.${stream}`, {
      name: stream,
      subjects: [`${stream}.>`],
      num_replicas: 3,
      allow_direct: allowDirect,
      max_msgs_per_subject: 2,
    })
    const leader = await leaderOf(cluster, stream)
    await native.close()
    native = await openNative(leader.wsUrl)
    const follower = cluster.nodes.find((node) => node !== leader)
    const settings = { AUTH: 'none', NATS_URL: follower?.wsUrl ?? '', TOKEN_KEYS: newTokenKey() }
    sessions = createSessions(readSettings(settings), createMetrics({}))
    session = sessions.open({ credential: { kind: 'own' }, tenant: 'own' })
  })
  afterAll(async () => {
    await sessions?.close()
    await native?.close()
    await cluster?.stop()
  })

  const pageOf = (from: ReadOrigin) =>
    session.reader.page({
      stream,
      filters: [],
      scope: session.cursors.scope(stream, []),
      from,
      onGap: 'error',
      limit: 100,
      maxBytes: 1_000_000,
    })

  /** As a client would: a node that has not heard of the page's consumer yet lets the page fail, and it is asked for again. */
  const nextPage = (from: ReadOrigin) =>
    until('a page', () =>
      pageOf(from).catch((failure: unknown) => {
        if (isPassing(failure)) return undefined
        throw failure
      }),
    )

  /** All that pages tell until nothing more is there. */
  const readAll = async (): Promise<number[]> => {
    const seqs: number[] = []
    for (let from: ReadOrigin = { start: { at: 'last_per_subject' } }; ; ) {
      const { messages, position, upToDate } = await nextPage(from)
      seqs.push(...messages.map(({ seq }) => seq))
      if (upToDate) return seqs
      from = { position }
    }
  }

  it('has every message that was stored before it was asked for, in order', {
    timeout: 120_000,
  }, async () => {
    const lasts = new Map<string, number>()
    const wrong: string[] = []
    for (let read = 0; read < (allowDirect ? READS : READS / 5); read += 1) {
      const subject = `${stream}.${read % SUBJECTS}`
      lasts.set(subject, await native.publish({ subject, payload: Buffer.from(`${read}`), headers: {} }))
      const seqs = await readAll()
      const missing = [...lasts.values()].filter((seq) => !seqs.includes(seq))
      if (missing.length > 0) wrong.push(`read ${read} had no ${missing}`)
      if (seqs.some((seq, index) => index > 0 && seq <= (seqs[index - 1] ?? 0)))
        wrong.push(`read ${read}: ${seqs}`)
    }
    expect(wrong).toEqual([])
  })
})
