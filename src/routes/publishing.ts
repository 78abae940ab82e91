/** Owns what the ways to publish many messages share: whose they are, and how results are written. */
import type { Context } from 'hono'
import type { AppEnv } from '../context.ts'
import type { Hold } from '../holds.ts'
import type { ServerInfo } from '../jetstream.ts'
import type { Outcome } from '../publishing/pipeline.ts'
import { createPublisher, type Publisher } from '../publishing/publisher.ts'
import { readBody, takeOff } from '../read-body.ts'
import { encodeFailedResult, encodeStoredResult } from '../schemas/batch.ts'

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
  work: (body: Uint8Array, hold: Hold) => Promise<Done>,
): Promise<Done> {
  const { openHold, settings, startTimer } = c.get('dependencies')
  const hold = openHold(c.get('caller').tenant)
  const bounds = { maxBytes, hold, silenceMs: settings.BODY_SILENCE_MS, startTimer }
  try {
    return await work(await readBody(c.req.raw, bounds), hold)
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
