/** What the ways to publish many messages share: whose they are, and how results are written. */
import type { Context } from 'hono'
import type { AppEnv } from '../context.ts'
import type { ServerInfo } from '../jetstream.ts'
import type { Outcome } from '../publishing/pipeline.ts'
import { createPublisher, type Publisher } from '../publishing/publisher.ts'
import { readBody, takeOff } from '../read-body.ts'
import { encodeFailedResult, encodeStoredResult } from '../schemas/batch.ts'
import { parsedBytes } from '../schemas/json-bounds.ts'

export function publisherOf(c: Context<AppEnv>): Publisher {
  const { settings, now } = c.get('dependencies')
  return createPublisher(c.get('session').jetstream, { deadlineMs: settings.PUBLISH_DEADLINE_MS, now })
}

/** What the server can do; where it cannot be asked, the body is taken off the connection first, so that the client hears of it. */
export async function askServer(c: Context<AppEnv>): Promise<ServerInfo> {
  try {
    return await c.get('session').jetstream.server()
  } catch (failure) {
    await takeOff(c.req.raw)
    throw failure
  }
}

/**
 * Reads the body, and has the host count it until the work with it is done: what JetStream has not confirmed stays in
 * memory, and in an outage that is all that comes. Throws as `readBody`.
 */
export async function withBody<Done>(
  c: Context<AppEnv>,
  maxBytes: number,
  work: (body: Uint8Array) => Promise<Done>,
): Promise<Done> {
  const { openHold, settings, startTimer } = c.get('dependencies')
  const hold = openHold(c.get('caller').tenant)
  const bounds = { maxBytes, hold, silenceMs: settings.BODY_SILENCE_MS, startTimer }
  try {
    const body = await readBody(c.req.raw, bounds)
    hold.take(COPIES * body.length, 'parsed')
    return await work(body)
  } finally {
    hold.release()
  }
}

/** A body is there as it came, as it is sent, and in the connection's buffer while NATS does not take it. */
const COPIES = 2

/** What the result of a message takes, bytes: counted before any is published, since it has to be told afterwards. */
const RESULT_BYTES = 512

/** What is counted of a JSON document that messages are made of. */
export interface JsonHold {
  /** Counts a text that is about to be parsed, by the values in it. Throws as `Hold.take`. */
  parses(text: string, values: number): void
  /** Counts what comes of so many messages; `isWhole`: all of them are made before one is sent. Throws as `Hold.take`. */
  publishes(messages: number, isWhole: boolean): void
}

/** As `withBody`, for a JSON document: counts what is parsed out of it instead of the body, which is let go. */
export async function withJson<Done>(
  c: Context<AppEnv>,
  maxBytes: number,
  work: (body: Uint8Array, counts: JsonHold) => Promise<Done>,
): Promise<Done> {
  const { openHold, settings, startTimer } = c.get('dependencies')
  const hold = openHold(c.get('caller').tenant)
  const bounds = { maxBytes, hold, silenceMs: settings.BODY_SILENCE_MS, startTimer }
  let chars = 0
  const counts: JsonHold = {
    parses(text, values) {
      chars = text.length
      const bytes = parsedBytes(text, values)
      hold.requireRoom(Math.max(0, bytes - chars))
      hold.keep(bytes, 'parsed')
    },
    publishes(messages, isWhole) {
      hold.take(RESULT_BYTES * messages, 'answers')
      if (isWhole) hold.take(COPIES * chars, 'parsed')
    },
  }
  try {
    return await work(await readBody(c.req.raw, bounds), counts)
  } finally {
    hold.release()
  }
}

/** Writes the result of one message. */
export type WriteResult = (outcome: Outcome, index: number) => Promise<string> | string

/** A writer that counts what is stored, and asks once of each stream how long it remembers keys. */
export function createResultWriter(c: Context<AppEnv>): WriteResult {
  const { reader } = c.get('session')
  const { metrics } = c.get('dependencies')
  const requestId = c.get('requestId')
  const windows = new Map<string, number | undefined>()

  return (outcome, index) => {
    if ('failure' in outcome) return encodeFailedResult(index, outcome.failure, requestId)
    metrics.publishes.add(1)
    const { ack, hasKey } = outcome
    if (!hasKey) return encodeStoredResult(index, ack, undefined)
    if (windows.has(ack.stream)) return encodeStoredResult(index, ack, windows.get(ack.stream))
    return reader.duplicateWindowOf(ack.stream).then((window) => {
      windows.set(ack.stream, window)
      return encodeStoredResult(index, ack, window)
    })
  }
}
