/** The sources of live messages: Sluice on a host, and nchan, each with who publishes to it. */

import type { PublisherJob } from '../load/publishers.ts'
import type { ReadersJob } from '../load/readers.ts'
import type { Nchan } from '../peers/nchan.ts'
import type { Stage } from '../stage.ts'

export const PAYLOAD_BYTES = 256
/** What the stream keeps of what was read long ago. */
const MAX_STREAM_BYTES = 256 * 1_024 * 1_024

/** Its workers tell each other of a reader after its answer has begun: what is published sooner may pass it by. */
const NCHAN_READY_AFTER_MS = 1_000

/** What readers read, and who publishes that. `pids`: of the processes whose CPU time and memory count. */
export type Source = {
  pids: readonly number[]
  readers: Pick<ReadersJob, 'url' | 'path' | 'ready' | 'readyAfterMs'>
  publisher: PublisherJob
}

/** A stream of its own for each figure: nothing of another one's readers is left on it. */
export type LiveStream = { name: string; subject: string }

/** Makes the stream, or empties it. */
export const prepareStream = async ({ native, natsUrl: url }: Stage, figure: string): Promise<LiveStream> => {
  const stream = { name: `BENCH_${figure.toUpperCase()}`, subject: `bench.${figure}` }
  const { name } = stream
  const subjects = [`${stream.subject}.>`]
  const body = { name, subjects, storage: 'file', allow_direct: true, max_bytes: MAX_STREAM_BYTES }
  await native.ask('askApi', { url, path: `STREAM.CREATE.${name}`, body })
  await native.ask('askApi', { url, path: `STREAM.PURGE.${name}` })
  return stream
}

/** The whole stream, or each reader's lane of it. */
export const sluicePath = ({ name, subject }: LiveStream, filtered: boolean): string =>
  `/v1/streams/${name}/messages${filtered ? `?subject=${subject}.{lane}` : ''}`

/** Sluice on one of its hosts; JetStream is published to natively. */
export const sluiceSource = (
  { natsUrl }: Stage,
  stream: LiveStream,
  host: { url: string; pid: number; filtered?: boolean },
): Source => {
  const path = sluicePath(stream, host.filtered ?? false)
  return {
    pids: [host.pid],
    readers: { url: host.url, path, ready: 'event: caught_up', readyAfterMs: 0 },
    publisher: { kind: 'nats', url: natsUrl, subject: stream.subject },
  }
}

/** nchan, published to over one connection. */
export const nchanSource = ({ url, pids, readPath, publishPath }: Nchan): Source => ({
  pids,
  readers: { url, path: readPath, ready: ': hi\n\n', readyAfterMs: NCHAN_READY_AFTER_MS },
  publisher: { kind: 'nchan', url, path: publishPath },
})
