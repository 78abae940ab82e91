/** What a nats-server tells of its JetStream at its monitoring endpoint. */
import type { TestNats } from '../support/nats.ts'

export interface StreamDetail {
  readonly name: string
  readonly state?: { readonly messages: number }
  readonly cluster?: {
    readonly leader?: string
    readonly replicas?: readonly { readonly current?: boolean }[]
  }
}

export interface Jsz {
  readonly meta_cluster?: { readonly leader?: string }
  readonly account_details?: readonly { readonly stream_detail?: readonly StreamDetail[] }[]
}

const ASK_MS = 1_000

/** Throws where it does not answer in a second. */
export async function askNode(node: TestNats): Promise<Jsz> {
  const answer = await fetch(`${node.monitorUrl}/jsz?streams=true`, { signal: AbortSignal.timeout(ASK_MS) })
  return (await answer.json()) as Jsz
}

export const detailOf = ({ account_details = [] }: Jsz, stream: string): StreamDetail | undefined =>
  account_details.flatMap(({ stream_detail = [] }) => stream_detail).find(({ name }) => name === stream)
