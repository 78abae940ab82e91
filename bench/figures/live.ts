/** Owns the sources of live messages: Sluice on a host, and nchan, each with who publishes to it. */

import type { PublisherJob } from '../load/publishers.ts'
import type { ReadersJob } from '../load/readers.ts'
import type { Stage } from '../stage.ts'

export const PAYLOAD_BYTES = 256
export const STREAM = 'BENCH_LIVE'
const SUBJECT = 'bench.live'
/** What the stream keeps of what was read long ago. */
const MAX_STREAM_BYTES = 256 * 1_024 * 1_024

/** What readers read, and who publishes that. `pid`: of the process whose CPU time and memory count. */
export type Source = {
  name: string
  pid: number
  readers: Pick<ReadersJob, 'url' | 'path' | 'ready'>
  publisher: PublisherJob
}

/** Makes the stream, or empties it. */
export const prepareStream = async ({ native, natsUrl: url }: Stage): Promise<void> => {
  const body = {
    name: STREAM,
    subjects: [`${SUBJECT}.>`],
    storage: 'file',
    allow_direct: true,
    max_bytes: MAX_STREAM_BYTES,
  }
  await native.ask('askApi', { url, path: `STREAM.CREATE.${STREAM}`, body })
  await native.ask('askApi', { url, path: `STREAM.PURGE.${STREAM}` })
}

/** The whole stream, or each reader's lane of it. */
export const sluicePath = (filtered: boolean): string =>
  `/v1/streams/${STREAM}/messages${filtered ? `?subject=${SUBJECT}.{lane}` : ''}`

/** Sluice on one of its hosts; JetStream is published to natively. */
export const sluiceSource = (
  stage: Stage,
  { name, url, pid }: { name: string; url: string; pid: number },
  filtered = false,
): Source => ({
  name,
  pid,
  readers: { url, path: sluicePath(filtered), ready: 'event: caught_up' },
  publisher: { kind: 'nats', url: stage.natsUrl, subject: SUBJECT },
})

/** nchan, published to over one connection. */
export const nchanSource = async ({ peers }: Stage): Promise<Source> => {
  const { url, pid, readPath, publishPath } = await peers.nchan()
  return {
    name: 'nchan',
    pid,
    readers: { url, path: readPath, ready: ': hi\n\n' },
    publisher: { kind: 'nchan', url, path: publishPath },
  }
}
