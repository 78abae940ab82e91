/** The streams that reads and pulls are measured on: filled once, and left as they are. */
import type { Stage } from '../stage.ts'

export const STORED = 'BENCH_STORED'
export const PAYLOAD_BYTES = 256

const SUBJECT = 'bench.stored'
const filled = new WeakMap<Stage, Set<string>>()

/** True the first time for a stage. */
const isFirst = (stage: Stage, what: string): boolean => {
  const known = filled.get(stage) ?? new Set()
  filled.set(stage, known)
  return known.size < known.add(what).size
}

/** Makes a stream on `subject` and stores `messages` in it. Throws where not all are there. */
export const makeStream = async (
  { native, natsUrl: url }: Stage,
  stream: { name: string; subject: string; messages: number; bytes: number },
): Promise<void> => {
  const { name, subject, messages } = stream
  const body = { name, subjects: [subject], storage: 'file', allow_direct: true }
  await native.ask('askApi', { url, path: `STREAM.CREATE.${name}`, body })
  await native.ask('store', { url, ...stream })
  const { state } = await native.ask('askApi', { url, path: `STREAM.INFO.${name}` })
  if (state?.messages !== messages) throw new Error(`${name} has ${state?.messages} of ${messages} messages`)
}

/** Stores `messages` of 256 bytes, once for a stage. */
export const fillStream = async (stage: Stage, messages: number): Promise<void> => {
  if (!isFirst(stage, STORED)) return
  await makeStream(stage, { name: STORED, subject: SUBJECT, messages, bytes: PAYLOAD_BYTES })
}

/** The same in Redis; answers where its webdis is. */
export const fillWebdis = async (stage: Stage, messages: number): Promise<{ url: string; pid: number }> => {
  const { url, pid, redisPort: port } = await stage.peers.webdis()
  if (isFirst(stage, 'webdis'))
    await stage.http.ask('fillWebdis', { port, key: STORED, messages, bytes: PAYLOAD_BYTES })
  return { url, pid }
}
