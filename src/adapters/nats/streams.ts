/** The stream calls of the JetStream API. */
import type { NatsConnection } from 'nats.ws'
import { BridgeError } from '../../errors.ts'
import type { JetStreamConfig, Listing, StreamInfo } from '../../jetstream.ts'
import { callApi } from './api.ts'
import type { Connection } from './connection.ts'
import { hasErrCode } from './errors.ts'
import { getMessage } from './messages.ts'
import { checkedName } from './names.ts'
import { checkPercent } from './percent-names.ts'

/** What any failure of a store to delete a message is called. */
const DELETE_FAILED = 10_057

/** The config of a stream, which always has a name. */
export type NamedConfig = JetStreamConfig & { readonly name: string }

const named = (config: JetStreamConfig): string => checkedName('stream', String(config.name ?? ''))

type InfoReply = StreamInfo & { readonly ts?: string }

const onlyInfo = ({ config, created, state, ts }: InfoReply): StreamInfo =>
  ts === undefined ? { config, created, state } : { config, created, state, asOf: ts }

export async function listStreams(connection: Connection, offset: number): Promise<Listing<StreamInfo>> {
  const reply = await callApi<{ streams?: readonly InfoReply[] | null; total: number }>(
    connection,
    'STREAM.LIST',
    {
      offset,
    },
  )
  return { items: (reply.streams ?? []).map(onlyInfo), total: reply.total }
}

/** `JetStream.streamOf`. */
export async function streamOf(connection: Connection, subject: string): Promise<string | undefined> {
  const reply = await callApi<{ streams?: readonly string[] | null }>(connection, 'STREAM.NAMES', { subject })
  return reply.streams?.[0]
}

export async function createStream(connection: Connection, config: JetStreamConfig): Promise<StreamInfo> {
  const name = named(config)
  await checkPercent(connection, name)
  return onlyInfo(await callApi<InfoReply>(connection, `STREAM.CREATE.${name}`, config))
}

export async function updateStream(connection: Connection, config: NamedConfig): Promise<StreamInfo> {
  return onlyInfo(await callApi<InfoReply>(connection, `STREAM.UPDATE.${named(config)}`, config))
}

/** `JetStream.streamInfo`. */
export async function streamInfo(
  connection: Connection,
  stream: string,
  client?: NatsConnection,
): Promise<StreamInfo> {
  return onlyInfo(await callApi<InfoReply>(connection, infoOf(stream), undefined, client))
}

const infoOf = (stream: string) => `STREAM.INFO.${checkedName('stream', stream)}`

export async function deleteStream(connection: Connection, stream: string): Promise<void> {
  await callApi(connection, `STREAM.DELETE.${checkedName('stream', stream)}`)
}

/** `JetStream.purgeStream`: how many messages went. */
export async function purgeStream(
  connection: Connection,
  stream: string,
  options: { filter?: string; seq?: number; keep?: number },
): Promise<number> {
  const path = `STREAM.PURGE.${checkedName('stream', stream)}`
  const { purged } = await callApi<{ purged?: number }>(connection, path, options)
  return purged ?? 0
}

/** `JetStream.deleteMessage`. */
export async function deleteMessage(connection: Connection, stream: string, seq: number): Promise<void> {
  try {
    await callApi(connection, `STREAM.MSG.DELETE.${checkedName('stream', stream)}`, { seq })
  } catch (failure) {
    if (!hasErrCode(failure, DELETE_FAILED)) throw failure
    // A file store fails in its own words where there is no such message: beyond the end, or purged.
    const found = await getMessage(connection, stream, { seq }).catch(() => failure)
    throw found ? failure : missingMessage(stream, failure)
  }
}

const missingMessage = (stream: string, cause: unknown) =>
  new BridgeError('message_not_found', `Stream "${stream}" does not have the message.`, { cause })
