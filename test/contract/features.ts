/** The features of a server that let JetStream do something with a message later, and publishing such messages. */
import { publishPath } from './client.ts'
import type { Batch, Result } from './results.ts'
import type { Target, TestStream } from './target.ts'

export type Feature = 'message_ttl' | 'message_schedules' | 'cron_schedules' | 'counters'

/** Long after any test. */
export const FAR = '2100-01-01T00:00:00Z'

/** What a stream has to allow. */
export const ALLOWING: Readonly<Record<Feature, Readonly<Record<string, unknown>>>> = {
  message_ttl: { allow_msg_ttl: true },
  message_schedules: { allow_msg_schedules: true, allow_msg_ttl: true },
  cron_schedules: { allow_msg_schedules: true, allow_msg_ttl: true },
  counters: { allow_msg_counter: true },
}

/** Publishes to a target by members and by headers, and reads. To be used inside tests. */
export function featuresOn(target: Target) {
  const send = async (...messages: readonly object[]): Promise<readonly Result[]> =>
    (await target.bridge.ok<Batch>('POST /v1/messages', { json: { messages } })).results
  const publish = (subject: string, headers: Record<string, string>, body = '') =>
    target.bridge.send(`POST ${publishPath(subject)}`, { headers, body })
  const read = async ({ name }: TestStream, subject?: string) =>
    (await target.bridge.page(name, subject === undefined ? {} : { subject })).messages
  /** Runs a test on a stream that allows the feature, where the server has it. */
  const withFeature = async (feature: Feature, run: (stream: TestStream) => Promise<void>) => {
    if (target.supports[feature]) await run(await target.makeStream(ALLOWING[feature]))
  }
  return { send, publish, read, withFeature }
}
