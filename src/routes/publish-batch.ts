/** Publishing a batch that comes in one JSON document: each message by itself, or all or none. */
import type { Context } from 'hono'
import { answer } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import { BatchRefused, BridgeError, refuse } from '../errors.ts'
import type { OutgoingMessage, PubAck, ServerInfo } from '../jetstream.ts'
import { publishAtomically } from '../publishing/atomic.ts'
import { keyOf } from '../publishing/keys.ts'
import { readOutgoing, withExactJson } from '../publishing/outgoing.ts'
import { type Outcome, Pipeline } from '../publishing/pipeline.ts'
import { parseInput } from '../router.ts'
import { failedResults, looseBatchSchema } from '../schemas/batch.ts'
import { requireBoundedJson } from '../schemas/json-bounds.ts'
import { LEVEL_OF_2_12, notSupported, requireHeed } from '../schemas/nats-headers.ts'
import { keptBody } from './held-answers.ts'
import { askServer, createResultWriter, type JsonHold, publisherOf, withJson } from './publishing.ts'

export const BATCH_TYPE = 'application/json'

export async function answerBatch(c: Context<AppEnv>): Promise<Response> {
  const { publishers, settings } = c.get('dependencies')
  return await publishers.hold(c.get('caller').tenant, async () => {
    const server = await askServer(c)
    return await withJson(c, settings.MAX_BATCH_BYTES, async (body, counts) => {
      const { messages, atomic } = readBatch(body, counts)
      counts.publishes(messages.length, atomic)
      return atomic ? await answerAtomic(c, messages, server) : await answerEach(c, messages, server)
    })
  })
}

function readBatch(body: Uint8Array, counts: JsonHold) {
  const { text, value } = parseBody(body, counts)
  const { messages, atomic } = parseInput(looseBatchSchema, value)
  return { messages: withExactJson(messages, text), atomic }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function parseBody(body: Uint8Array, counts: JsonHold): { text: string; value: unknown } {
  try {
    const text = utf8.decode(body)
    counts.parses(text, requireBoundedJson(text, 'body'))
    return { text, value: JSON.parse(text) }
  } catch (failure) {
    throw failure instanceof BridgeError ? failure : refuse('body', 'must be JSON')
  }
}

/** A message as it is to be published. Throws what is wrong with it. */
function createReader(c: Context<AppEnv>, server: ServerInfo): (value: unknown) => OutgoingMessage {
  const toId = c.get('session').messageIdOf
  return (value) => {
    const message = readOutgoing(value, toId)
    requireHeed(message.headers, server)
    return message
  }
}

async function answerEach(c: Context<AppEnv>, values: readonly unknown[], server: ServerInfo) {
  const read = createReader(c, server)
  return await answerOutcomes(
    c,
    await publishEach(new Pipeline(publisherOf(c)), values, (value) => read(value)),
  )
}

/** Publishes one after another, as far as JetStream can be reached; `read` throws what is wrong with one. */
export async function publishEach<Value>(
  pipeline: Pipeline,
  values: readonly Value[],
  read: (value: Value) => OutgoingMessage,
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = []
  const sendOne = (value: Value) => {
    try {
      const message = read(value)
      pipeline.send(message, message.payload.length)
    } catch (failure) {
      pipeline.refuse(failure)
    }
  }
  for (const queue = values.values(); ; outcomes.push(...(await pipeline.take()))) {
    while (pipeline.hasRoom) {
      const next = queue.next()
      if (next.done) break
      sendOne(next.value)
    }
    if (pipeline.isEmpty) break
  }
  const unsent = { failure: new BridgeError('jetstream_unavailable', 'JetStream failed before: not sent.') }
  return [...outcomes, ...values.slice(outcomes.length).map(() => unsent)]
}

/** Answers with a result for each; where all failed alike for an outage, with that. */
export async function answerOutcomes(c: Context<AppEnv>, outcomes: readonly Outcome[]): Promise<Response> {
  const [first] = outcomes
  if (first && 'failure' in first && outcomes.every(isUnavailable)) throw first.failure
  const write = createResultWriter(c)
  const results: string[] = []
  for (const [index, outcome] of outcomes.entries()) results.push(await write(outcome, index))
  const body = UTF8.encode(`{"results":[${results.join(',')}]}`)
  return answer(c, keptBody(c, body), { headers: { 'Content-Type': BATCH_TYPE } })
}

const UTF8 = new TextEncoder()

const isUnavailable = (outcome: Outcome) =>
  'failure' in outcome &&
  outcome.failure instanceof BridgeError &&
  outcome.failure.code === 'jetstream_unavailable'

async function answerAtomic(c: Context<AppEnv>, values: readonly unknown[], server: ServerInfo) {
  if (server.apiLevel < LEVEL_OF_2_12) throw notSupported('An atomic batch', LEVEL_OF_2_12, server.version)
  const read = createReader(c, server)
  const messages = values.map((value, index) => inPlace(index, () => read(value)))
  const { settings, now } = c.get('dependencies')
  const options = { deadlineMs: settings.PUBLISH_DEADLINE_MS, now }
  try {
    const acks = await publishAtomically(c.get('session').jetstream, messages, options)
    return await answerOutcomes(
      c,
      acks.map((ack, index) => toOutcome(ack, messages[index])),
    )
  } catch (failure) {
    throw failure instanceof BatchRefused ? toProblemOfAll(failure, c.get('requestId')) : failure
  }
}

const toOutcome = (ack: PubAck, message: OutgoingMessage | undefined): Outcome => ({
  ack,
  hasKey: message !== undefined && keyOf(message) !== undefined,
})

/** Has a refused field told with its place in the batch. */
function inPlace<Read>(index: number, read: () => Read): Read {
  try {
    return read()
  } catch (failure) {
    if (!(failure instanceof BridgeError)) throw failure
    const errors = failure.errors?.map(({ field, message }) => ({
      field: `messages.${index}.${field}`,
      message,
    }))
    throw new BridgeError(failure.code, `messages.${index}: ${failure.message}`, {
      cause: failure.cause,
      ...(errors ? { errors } : {}),
    })
  }
}

/** The problem of the first message that was itself refused, or of the whole, with what became of each. */
function toProblemOfAll({ failures, culprit }: BatchRefused, requestId: string): BridgeError {
  const results = failedResults(failures, requestId)
  const failure = failures[culprit ?? 0] ?? new BridgeError('batch_refused', 'The batch is refused.')
  const detail = culprit === undefined ? failure.message : `messages.${culprit}: ${failure.message}`
  return new BridgeError(failure.code, detail, {
    cause: failure.cause,
    members: { ...failure.members, results },
  })
}
