/** Owns streams: their configuration, state, subjects, and purge. */
import { createRoute } from '@hono/zod-openapi'
import { BridgeError } from '../errors.ts'
import { createRouter, noQuery } from '../router.ts'
import { toJetStream } from '../schemas/durations.ts'
import { json } from '../schemas/examples.ts'
import { queryInteger, streamName, subjectFilter } from '../schemas/names.ts'
import { problems } from '../schemas/problem.ts'
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
    ...problems(),
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
    ...problems('stream_not_found', 'payload_too_large', 'unsupported_media_type'),
  },
})

const listSubjectsRoute = createRoute({
  method: 'get',
  path: '/v1/streams/{stream}/subjects',
  operationId: 'listSubjects',
  tags,
  summary: 'Count messages by subject',
  description: 'The subjects that have messages now, with how many.',
  request: {
    params,
    query: z.strictObject({
      subject: subjectFilter.default('>').openapi({ description: 'Only subjects below this filter.' }),
      offset,
    }),
  },
  responses: {
    200: { description: 'A page.', content: json(subjectCountsSchema, 'subjectCounts') },
    ...problems('stream_not_found'),
  },
})

export const streams = createRouter()
  .openapi(listStreamsRoute, async (c) => {
    const { offset = 0 } = c.req.valid('query')
    const { items, total } = await c.var.session.jetstream.listStreams(offset)
    const next = offset + items.length
    return c.json({ streams: items.map(encodeStream), total, next_offset: next < total ? next : null }, 200)
  })
  .openapi(createStreamRoute, async (c) => {
    const info = await c.var.session.jetstream.createStream(toJetStream(c.req.valid('json')))
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
    if (said.name !== undefined && said.name !== name) throw refuseName(name)
    const { jetstream } = c.var.session
    const config = { ...toJetStream(said), name }
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
    const purged = await c.var.session.jetstream.purgeStream(c.req.valid('param').stream, {
      ...(filter === undefined ? {} : { filter }),
      ...(seq === undefined ? {} : { seq }),
      ...(keep === undefined ? {} : { keep }),
    })
    return c.json({ purged }, 200)
  })
  .openapi(listSubjectsRoute, async (c) => {
    const { subject, offset = 0 } = c.req.valid('query')
    const { state } = await c.var.session.jetstream.streamInfo(c.req.valid('param').stream, {
      subjects: subject,
      offset,
    })
    const subjects = state.subjects ?? {}
    const next = offset + Object.keys(subjects).length
    const more =
      subject === '>' ? next < (state.num_subjects ?? 0) : Object.keys(subjects).length >= SUBJECTS_PAGE
    return c.json({ subjects, next_offset: more ? next : null }, 200)
  })

/** JetStream's own page of subjects with counts. */
const SUBJECTS_PAGE = 100_000

const refuseName = (name: string) =>
  new BridgeError('invalid_request', `name: must be "${name}", as in the path`, {
    errors: [{ field: 'name', message: `must be "${name}", as in the path` }],
  })
