/** The port's implementation over NATS: which call is served where. */
import type { ConnectionEvents, JetStream, JetStreamConnection, NatsCredential } from '../../jetstream.ts'
import type { Settings } from '../../settings.ts'
import { type Connection, prepareConnection } from './connection.ts'
import { getBatchByConsumer } from './consumer-reads.ts'
import {
  consumerInfo,
  deleteConsumer,
  listConsumers,
  pauseConsumer,
  putConsumer,
  resetConsumer,
} from './consumers.ts'
import { countMatching } from './counting.ts'
import { getBatch } from './direct-get.ts'
import { follow } from './follow.ts'
import { getLastPerSubject } from './last-per-subject.ts'
import { getMessage } from './messages.ts'
import { lookUpSubject, publish, publishAtomic } from './publish.ts'
import { pull } from './pull.ts'
import { isSameConsumer } from './same-consumer.ts'
import { ping, serverInfo } from './server.ts'
import { settle } from './settle.ts'
import { SnapshotReaders } from './snapshot-readers.ts'
import {
  createStream,
  deleteMessage,
  deleteStream,
  listStreams,
  purgeStream,
  streamInfo,
  streamOf,
  updateStream,
} from './streams.ts'
import { subjectCounts } from './subject-counts.ts'

const jetStreamOver = (connection: Connection, readers: SnapshotReaders): JetStream => ({
  server: () => serverInfo(connection),
  ping: () => ping(connection),
  publish: (message) => publish(connection, message),
  publishAtomic: (messages) => publishAtomic(connection, messages),
  streamOf: (subject) => streamOf(connection, subject),
  lookUpSubject: (subject) => lookUpSubject(connection, subject),
  listStreams: (offset) => listStreams(connection, offset),
  createStream: (config) => createStream(connection, config),
  updateStream: (config) => updateStream(connection, config),
  streamInfo: (stream) => streamInfo(connection, stream),
  subjectCounts: (stream, filter, offset) => subjectCounts(connection, stream, filter, offset),
  deleteStream: (stream) => deleteStream(connection, stream),
  purgeStream: (stream, options) => purgeStream(connection, stream, options),
  deleteMessage: (stream, seq) => deleteMessage(connection, stream, seq),
  getMessage: (stream, lookup) => getMessage(connection, stream, lookup),
  getBatch: (stream, request) => getBatch(connection, stream, request),
  getBatchByConsumer: (stream, request) => getBatchByConsumer(connection, stream, request),
  countMatching: (stream, request) => countMatching(connection, stream, request),
  getLastPerSubject: (stream, request) => getLastPerSubject({ connection, readers }, stream, request),
  follow: (stream, fromSeq, listener) => follow(connection, { stream, fromSeq, listener }),
  listConsumers: (stream, offset) => listConsumers(connection, stream, offset),
  putConsumer: (stream, config) => putConsumer(connection, stream, config),
  consumerInfo: (stream, consumer) => consumerInfo(connection, stream, consumer),
  deleteConsumer: (stream, consumer) => deleteConsumer(connection, stream, consumer),
  pauseConsumer: (stream, consumer, until) => pauseConsumer(connection, stream, consumer, until),
  resetConsumer: (stream, consumer, seq) => resetConsumer(connection, stream, consumer, seq),
  pull: (stream, consumer, request) => pull(connection, { stream, consumer }, request),
  isSameConsumer: (now, then) => isSameConsumer(connection, now, then),
  settle: (replySubject, action) => settle(connection, replySubject, action),
})

/**
 * Opens JetStream as one credential sees it. Nothing is dialled before the first call; after a lost connection the next
 * call dials again. A refused credential shows as `unauthenticated` in the call. Whoever opens it closes it.
 */
export function openJetStream(
  settings: Settings,
  credential: NatsCredential,
  events?: ConnectionEvents,
): JetStreamConnection {
  const connection = prepareConnection(settings, credential, events)
  const readers = new SnapshotReaders()
  return {
    jetstream: jetStreamOver(connection, readers),
    isConnected: () => connection.isConnected(),
    isDialling: () => connection.isDialling(),
    connect: async () => void (await connection.client()),
    async close() {
      readers.close()
      await connection.close()
    },
  }
}
