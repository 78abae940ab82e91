/** What became of many messages that were published at once: the result of each, and what its stream then has. */
import { expect } from 'vitest'
import type { Message, Problem } from './client.ts'
import type { Target, TestStream } from './target.ts'

/** Of the message at `index`; without it, the last line of an answer that could not go on. */
export interface Result {
  readonly index?: number
  readonly stream?: string
  readonly seq?: number
  readonly duplicate?: boolean
  readonly duplicate_window_ms?: number
  readonly val?: string
  readonly error?: Problem
}

/** The answer to a batch; of an atomic one that is refused, a problem that has `results` too. */
export interface Batch {
  readonly results: readonly Result[]
}

/** The result of a message that is stored. `seq`: any unless given. */
export const stored = (index: number, seq: unknown = expect.any(Number), duplicate = false) => ({
  index,
  seq,
  duplicate,
})

/** The result of a message that is not stored; `members` are further ones of its problem. */
export const failed = (index: number, status: number, code: string, members: object = {}) => ({
  index,
  error: { status, code, side_effects: 'none', ...members },
})

export const seqsOf = ({ results }: Batch) => results.map(({ seq }) => seq)

/** Publishes messages in one JSON document; `members` are further ones of it. */
export const sendBatch = ({ bridge }: Target, messages: unknown, members: object = {}) =>
  bridge.send<Batch>('POST /v1/messages', { json: { messages, ...members } })

/** What the streams of a target have, however many messages that are. To be used inside tests. */
export function storedOn(target: Target) {
  const readAll = async ({ path }: TestStream): Promise<Message[]> => {
    const { response } = await target.bridge.open(`GET ${path}/messages`, {
      headers: { Accept: 'application/x-ndjson' },
    })
    const lines = (await response.text()).trimEnd().split('\n').slice(0, -1)
    return lines.map((line) => JSON.parse(line))
  }
  const payloads = async (stream: TestStream) => (await readAll(stream)).map(({ data }) => data)
  const countOf = async (stream: TestStream) => (await readAll(stream)).length
  return { readAll, payloads, countOf }
}
