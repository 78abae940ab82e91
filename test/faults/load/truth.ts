/** What a stream really has, asked of JetStream itself past the bridge. */
import { until } from '../../contract/expectations.ts'
import { covers } from '../../live/filters.ts'
import { type Native, openNative, type State } from '../../live/native.ts'

export interface Stored {
  readonly seq: number
  readonly subject: string
  readonly payload: string
}

/** All messages of a stream, by their sequence, in order. */
export type Truth = ReadonlyMap<number, Stored>

export interface ConsumerState {
  readonly num_pending: number
  readonly num_ack_pending: number
}

/** Requests under way at once. */
const AT_ONCE = 64

interface RawMessage {
  readonly message: { readonly seq: number; readonly subject: string; readonly data?: string }
}

/** Asks the leader for each message, and checks that it has as many as it says. */
export async function readTruth(wsUrl: string, stream: string): Promise<Truth> {
  const native = await openNative(wsUrl)
  try {
    return await readAll(native, stream)
  } finally {
    await native.close()
  }
}

async function readAll({ ask }: Native, stream: string): Promise<Truth> {
  const { state } = await ask<{ state: State }>(`STREAM.INFO.${stream}`)
  const found: Stored[] = []
  let next = state.first_seq
  const work = async () => {
    while (next <= state.last_seq) {
      const seq = next++
      // Between two leaders there is nobody to ask.
      const { message } = await until(`message ${seq}`, () =>
        ask<RawMessage>(`STREAM.MSG.GET.${stream}`, { seq }).catch(() => undefined),
      )
      found.push({
        seq,
        subject: message.subject,
        payload: Buffer.from(message.data ?? '', 'base64').toString(),
      })
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  if (found.length !== state.messages)
    throw new Error(`${stream} has ${state.messages} messages, ${found.length} were read`)
  return new Map(found.sort((a, b) => a.seq - b.seq).map((stored) => [stored.seq, stored]))
}

export async function readConsumer(wsUrl: string, stream: string, consumer: string): Promise<ConsumerState> {
  const native = await openNative(wsUrl)
  try {
    return await native.ask<ConsumerState>(`CONSUMER.INFO.${stream}.${consumer}`)
  } finally {
    await native.close()
  }
}

export const matches = (filter: string | undefined, subject: string): boolean =>
  filter === undefined || covers(filter, subject)

export const lastSeqFor = (truth: Truth, filter: string | undefined): number =>
  [...truth.values()].findLast(({ subject }) => matches(filter, subject))?.seq ?? 0
