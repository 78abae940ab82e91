/** The consumer calls of the JetStream API. */
import type { NatsConnection } from 'nats.ws'
import type { ConsumerInfo, JetStreamConfig, Listing } from '../../jetstream.ts'
import { callApi } from './api.ts'
import type { Connection } from './connection.ts'
import { type ConsumerLimits, rememberLimits } from './consumer-limits.ts'
import { checkedName, checkedSubject } from './names.ts'
import { checkPercent } from './percent-names.ts'
import { requireLevel } from './server.ts'

const PAUSE_LEVEL = 1
const RESET_LEVEL = 4

const pathOf = (verb: string, stream: string, consumer: string): string =>
  `CONSUMER.${verb}.${checkedName('stream', stream)}.${checkedName('consumer', consumer)}`

export async function listConsumers(
  connection: Connection,
  stream: string,
  offset: number,
): Promise<Listing<ConsumerInfo>> {
  const path = `CONSUMER.LIST.${checkedName('stream', stream)}`
  const reply = await callApi<{ consumers?: readonly ConsumerInfo[] | null; total: number }>(
    connection,
    path,
    {
      offset,
    },
  )
  return { items: reply.consumers ?? [], total: reply.total }
}

/** A list of one filter says the same as the single filter, and only that may stand in the API subject. */
function singleFilter(config: JetStreamConfig): JetStreamConfig {
  const { filter_subjects: filters, ...rest } = config
  return Array.isArray(filters) && filters.length === 1 ? { ...rest, filter_subject: filters[0] } : config
}

/**
 * Creates a consumer, or updates the one of that name. A single filter stands in the API subject too: NATS permissions
 * can then allow a credential just the subjects that are its own. Source: NATS ADR-42 and JetStream Wire API Reference.
 */
export async function createConsumer(
  connection: Connection,
  stream: string,
  config: JetStreamConfig & { readonly name: string },
  client?: NatsConnection,
): Promise<ConsumerInfo> {
  await checkPercent(connection, stream, config.name)
  const asked = singleFilter(config)
  const filter = typeof asked.filter_subject === 'string' ? asked.filter_subject : ''
  const suffix = filter === '' ? '' : `.${checkedSubject('filter_subject', filter)}`
  const path = pathOf('CREATE', stream, config.name) + suffix
  return await callApi<ConsumerInfo>(connection, path, { stream_name: stream, config: asked }, client)
}

/** `JetStream.putConsumer`. */
export async function putConsumer(
  connection: Connection,
  stream: string,
  config: JetStreamConfig & { readonly durable_name: string },
): Promise<ConsumerInfo> {
  return await createConsumer(connection, stream, { ...config, name: config.durable_name })
}

export async function consumerInfo(
  connection: Connection,
  stream: string,
  consumer: string,
): Promise<ConsumerInfo> {
  return (await lookAtConsumer(connection, stream, consumer)).info
}

/** `consumerInfo`, with what it says of pulls. */
export async function lookAtConsumer(
  connection: Connection,
  stream: string,
  consumer: string,
): Promise<{ readonly info: ConsumerInfo; readonly limits: ConsumerLimits }> {
  const askedAt = performance.now()
  const info = await callApi<ConsumerInfo>(connection, pathOf('INFO', stream, consumer))
  return { info, limits: rememberLimits(connection, info, performance.now() - askedAt) }
}

export async function deleteConsumer(
  connection: Connection,
  stream: string,
  consumer: string,
  client?: NatsConnection,
): Promise<void> {
  await callApi(connection, pathOf('DELETE', stream, consumer), undefined, client)
}

/** `JetStream.pauseConsumer`. Throws `not_supported` before nats-server 2.11. */
export async function pauseConsumer(
  connection: Connection,
  stream: string,
  consumer: string,
  until: string | undefined,
): Promise<void> {
  await requireLevel(connection, PAUSE_LEVEL, '2.11')
  await callApi(
    connection,
    pathOf('PAUSE', stream, consumer),
    until === undefined ? {} : { pause_until: until },
  )
}

/** `JetStream.resetConsumer`. Throws `not_supported` before nats-server 2.14. */
export async function resetConsumer(
  connection: Connection,
  stream: string,
  consumer: string,
  seq: number | undefined,
): Promise<ConsumerInfo> {
  await requireLevel(connection, RESET_LEVEL, '2.14')
  // nats-server 2.15 does not answer where there is no such consumer.
  await consumerInfo(connection, stream, consumer)
  return await callApi<ConsumerInfo>(
    connection,
    pathOf('RESET', stream, consumer),
    seq === undefined ? {} : { seq },
  )
}
