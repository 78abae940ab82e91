/** The users of the tests: two with a stream each in one account, and one who may do anything. */
import type { Client } from '../contract/client.ts'
import type { Guarded, NatsUser } from './support.ts'

/** What a user of one stream needs to do everything with it but administer it. */
const ownStream = (stream: string, subjects: string): readonly string[] => [
  subjects,
  `$JS.API.STREAM.INFO.${stream}`,
  `$JS.API.STREAM.MSG.GET.${stream}`,
  `$JS.API.DIRECT.GET.${stream}`,
  `$JS.API.CONSUMER.*.${stream}.>`,
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
  `$JS.ACK.${stream}.>`,
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
]

export const ADMIN: NatsUser = { name: 'admin', password: 'admin-secret-6f1' }
export const ALICE: NatsUser = {
  name: 'alice',
  password: 'alice-secret-2d9',
  publish: ownStream('ORDERS', 'orders.>'),
  subscribe: ['_INBOX.>'],
}
export const BOB: NatsUser = {
  name: 'bob',
  password: 'bob-secret-83c',
  publish: ownStream('INVOICES', 'invoices.>'),
  subscribe: ['_INBOX.>'],
}

/** Makes alice's stream with a consumer, and bob's. */
type Storage = 'memory' | 'file'

export async function makeStreams(
  { caller }: Pick<Guarded, 'caller'>,
  storage: Storage = 'memory',
): Promise<void> {
  const admin = caller(ADMIN)
  for (const name of ['ORDERS', 'INVOICES'])
    await admin.ok('POST /v1/streams', { json: { name, subjects: [`${name.toLowerCase()}.>`], storage } })
  await admin.ok('PUT /v1/streams/ORDERS/consumers/billing', { json: { ack_wait_ms: 60_000 } })
}

export async function makeStream(client: Client, name: string, ...subjects: string[]): Promise<void> {
  await client.ok('POST /v1/streams', { json: { name, subjects, storage: 'memory' } })
}
