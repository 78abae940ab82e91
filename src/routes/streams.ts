/** Streams: their configuration, state, subjects, and purge. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { answer } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import { BridgeError, refuse } from '../errors.ts'
import type { JetStream, JetStreamConfig, SubjectCounts } from '../jetstream.ts'
import { type Pieces, streamPieces } from '../pieces.ts'
import { createRouter, noQuery } from '../router.ts'
import { toJetStream } from '../schemas/durations.ts'
import { json } from '../schemas/examples.ts'
import { queryInteger, streamName, subjectFilter } from '../schemas/names.ts'
import { problems } from '../schemas/problem.ts'
import { reservedParts } from '../schemas/reserved-subjects.ts'
import {
  encodeStream,
  purgedSchema,
  purgeSchema,
  streamConfigSchema,
  streamListSchema,
  streamSchema,
  streamUpdateSchema,
  subjectCountsSchema,
} from '../schemas/stream.ts'
import * as z from '../schemas/zod.ts'
import { soon } from '../turns.ts'
import { declared } from './answers.ts'
import { answerList, holdUntilTaken, STALLED_MS } from './held-answers.ts'

const tags = ['Streams']
const params = z.object({ stream: streamName })
const offset = queryInteger(0, Number.MAX_SAFE_INTEGER)
  .optional()
  .openapi({ description: 'Where the page begins; default 0.' })

const listStreamsRoute = createRoute({
  method: 'get',
  path: '/v1/streams',
  operationId: 'listStreams',
  tags,
  summary: 'List streams',
  description:
    'A page of the streams, by name, each with its configuration and state. Follow `next_offset` to the next page.',
  request: { query: z.strictObject({ offset }) },
  responses: {
    200: { description: 'A page.', content: json(streamListSchema, 'streamList') },
    ...problems('host_full'),
  },
})

const createStreamRoute = createRoute({
  method: 'post',
  path: '/v1/streams',
  operationId: 'createStream',
  tags,
  summary: 'Create a stream',
  description:
    'The same configuration again answers the same stream; another one under the name is `stream_exists`.',
  request: { query: noQuery, body: { required: true, content: json(streamConfigSchema, 'streamConfig') } },
  responses: {
    201: {
      description: 'Created, or there already.',
      headers: z.object({ Location: z.string().openapi({ description: 'The stream.' }) }),
      content: json(streamSchema, 'stream'),
    },
    ...problems('stream_exists', 'payload_too_large', 'unsupported_media_type', 'stream_full'),
  },
})

const getStreamRoute = createRoute({
  method: 'get',
  path: '/v1/streams/{stream}',
  operationId: 'getStream',
  tags,
  summary: 'Get a stream',
  description: 'Its configuration and state, as the leader has them.',
  request: { params, query: noQuery },
  responses: {
    200: { description: 'The stream.', content: json(streamSchema, 'stream') },
    ...problems('stream_not_found'),
  },
})

const updateStreamRoute = createRoute({
  method: 'put',
  path: '/v1/streams/{stream}',
  operationId: 'updateStream',
  tags,
  summary: 'Create or update a stream',
  description:
    'Replaces the whole configuration: what is absent takes its default. Creates the stream where there is none.',
  request: {
    params,
    query: noQuery,
    body: { required: true, content: json(streamUpdateSchema, 'streamUpdate') },
  },
  responses: {
    200: { description: 'Updated.', content: json(streamSchema, 'stream') },
    201: { description: 'Created.', content: json(streamSchema, 'stream') },
    ...problems('stream_exists', 'payload_too_large', 'unsupported_media_type', 'stream_full'),
  },
})

const deleteStreamRoute = createRoute({
  method: 'delete',
  path: '/v1/streams/{stream}',
  operationId: 'deleteStream',
  tags,
  summary: 'Delete a stream',
  description: 'With all its messages and consumers. Its cursors and ack tokens are refused from then on.',
  request: { params, query: noQuery },
  responses: { 204: { description: 'Deleted.' }, ...problems('stream_not_found') },
})

const purgeStreamRoute = createRoute({
  method: 'post',
  path: '/v1/streams/{stream}/purge',
  operationId: 'purgeStream',
  tags,
  summary: 'Purge a stream',
  description:
    'Removes messages: all, those of some subjects, those before a sequence, or all but the newest.',
  request: {
    params,
    query: noQuery,
    body: { required: false, content: json(purgeSchema, 'purgeAll', 'purgeOlder') },
  },
  responses: {
    200: { description: 'How many are gone.', content: json(purgedSchema, 'purged') },
    ...problems('stream_not_found', 'payload_too_large', 'unsupported_media_type', 'host_full'),
  },
})

const listSubjectsRoute = createRoute({
  method: 'get',
  path: '/v1/streams/{stream}/subjects',
  operationId: 'listSubjects',
  tags,
  summary: 'Count messages by subject',
  description:
    'The subjects that have messages now, with how many, in pages of up to 100,000: as many as JetStream gives at once. ' +
    'A page is sent in pieces as it is read. Follow `next_offset` to the next one.',
  request: {
    params,
    query: z.strictObject({
      subject: subjectFilter.default('>').openapi({ description: 'Only subjects below this filter.' }),
      offset,
    }),
  },
  responses: {
    200: { description: 'A page.', content: json(subjectCountsSchema, 'subjectCounts') },
    ...problems('stream_not_found', 'host_full'),
  },
})

export const streams = createRouter()
  .openapi(listStreamsRoute, async (c) => {
    const { offset = 0 } = c.req.valid('query')
    const { items, total } = await searching(c, () => c.var.session.jetstream.listStreams(offset))
    const next = offset + items.length
    const list = { streams: items.map(encodeStream), total, next_offset: next < total ? next : null }
    return declared(answerList(c, list satisfies z.input<typeof streamListSchema>))
  })
  .openapi(createStreamRoute, async (c) => {
    const { jetstream } = c.var.session
    const said = c.req.valid('json')
    const config = toJetStream(said)
    await refuseReserved(jetstream, said.name, config)
    const info = await jetstream.createStream(config)
    const { path } = c.var.dependencies.publicAddress
    c.header('Location', `${path}/v1/streams/${encodeURIComponent(info.config.name)}`)
    return c.json(encodeStream(info), 201)
  })
  .openapi(getStreamRoute, async (c) => {
    const info = await c.var.session.jetstream.streamInfo(c.req.valid('param').stream)
    return c.json(encodeStream(info), 200)
  })
  .openapi(updateStreamRoute, async (c) => {
    const { stream: name } = c.req.valid('param')
    const said = c.req.valid('json')
    if (said.name !== undefined && said.name !== name)
      throw refuse('name', `must be "${name}", as in the path`)
    const { jetstream } = c.var.session
    const config = { ...toJetStream(said), name }
    await refuseReserved(jetstream, name, config)
    try {
      return c.json(encodeStream(await jetstream.updateStream(config)), 200)
    } catch (failure) {
      if (!(failure instanceof BridgeError) || failure.code !== 'stream_not_found') throw failure
      return c.json(encodeStream(await jetstream.createStream(config)), 201)
    }
  })
  .openapi(deleteStreamRoute, async (c) => {
    await c.var.session.jetstream.deleteStream(c.req.valid('param').stream)
    return c.body(null, 204)
  })
  .openapi(purgeStreamRoute, async (c) => {
    const { filter, seq, keep } = c.req.valid('json')
    const { stream } = c.req.valid('param')
    const options = {
      ...(filter === undefined ? {} : { filter }),
      ...(seq === undefined ? {} : { seq }),
      ...(keep === undefined ? {} : { keep }),
    }
    const purge = () => c.var.session.jetstream.purgeStream(stream, options)
    return c.json({ purged: await (filter === undefined ? purge() : searching(c, purge)) }, 200)
  })
  .openapi(listSubjectsRoute, async (c) => {
    const { stream } = c.req.valid('param')
    const { subject, offset = 0 } = c.req.valid('query')
    const counts = await searching(c, () => c.var.session.jetstream.subjectCounts(stream, subject, offset))
    const { openHold, startTimer } = c.var.dependencies
    const hold = openHold(c.var.caller.tenant)
    hold.take(counts.json.length, 'answers')
    const pieces = encodeCounts(
      counts,
      holdUntilTaken(c, () => hold.release()),
    )
    const gone = new AbortController()
    const body = await streamPieces(pieces, { startTimer, gone, stalledMs: STALLED_MS })
    return declared(answer(c, body, { headers: { 'Content-Type': 'application/json' } }))
  })

/** What costs NATS more the more there is in a stream or an account takes its turn. */
const searching = <Done>(c: Context<AppEnv>, work: () => Promise<Done>): Promise<Done> =>
  c.var.session.scan(c.req.raw.signal, work)

/** Characters of one piece. */
const PIECE_CHARS = 65_536

/** As JetStream wrote it, a piece in each turn of the event loop: 100,000 subjects at once would hold up everything else. */
async function* encodeCounts({ json, nextOffset }: SubjectCounts, taken: () => void): Pieces {
  try {
    yield '{"subjects":'
    for (let at = 0; at < json.length; at += PIECE_CHARS) {
      await new Promise<void>(soon)
      yield json.slice(at, at + PIECE_CHARS)
    }
    yield `,"next_offset":${nextOffset}}`
  } finally {
    taken()
  }
}

/**
 * Refuses what would reach NATS's own subjects, unless the stream has it already: made by a NATS client, it can be changed
 * in everything else.
 */
async function refuseReserved(jetstream: JetStream, name: string, config: JetStreamConfig): Promise<void> {
  const parts = reservedParts(config)
  if (parts.length === 0) return
  const known = new Set(await reservedOf(jetstream, name))
  const errors = parts
    .filter(({ field, value }) => !known.has(placeOf(field, value)))
    .map(({ field, message }) => ({ field, message }))
  const [first] = errors
  if (first) throw new BridgeError('invalid_request', `${first.field}: ${first.message}`, { errors })
}

/** What there is of it in the stream, wherever it stands in a list. */
async function reservedOf(jetstream: JetStream, name: string): Promise<readonly string[]> {
  try {
    const { config } = await jetstream.streamInfo(name)
    return reservedParts(config).map(({ field, value }) => placeOf(field, value))
  } catch (failure) {
    if (failure instanceof BridgeError && ['stream_not_found', 'forbidden'].includes(failure.code)) return []
    throw failure
  }
}

const placeOf = (field: string, value: string) => `${field.replace(/\.\d+/g, '')} ${value}`
