/** Owns the stream that reads and pulls are measured on: filled once, and left as it is. */
import type { Stage } from '../stage.ts'

export const STORED = 'BENCH_STORED'
export const PAYLOAD_BYTES = 256

const SUBJECT = 'bench.stored'
const filled = new WeakSet<Stage>()

/** Stores `messages` of 256 bytes, once for a stage. */
export const fillStream = async (stage: Stage, messages: number): Promise<void> => {
  if (filled.has(stage)) return
  filled.add(stage)
  const { native, natsUrl: url } = stage
  const body = { name: STORED, subjects: [SUBJECT], storage: 'file', allow_direct: true }
  await native.ask('askApi', { url, path: `STREAM.CREATE.${STORED}`, body })
  await native.ask('store', { url, subject: SUBJECT, messages, bytes: PAYLOAD_BYTES })
}
