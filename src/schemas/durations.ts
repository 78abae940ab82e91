/** The unit of durations: JetStream's JSON has nanoseconds, the wire has milliseconds in fields named `_ms`. */
import type { JetStreamConfig } from '../jetstream.ts'
import { msToNanos, nanosToMs } from './time.ts'

/** JetStream's fields that hold a duration, or a list of them. */
const DURATIONS = new Set([
  'ack_wait',
  'backoff',
  'duplicate_window',
  'idle_heartbeat',
  'inactive_threshold',
  'max_age',
  'max_expires',
  'pause_remaining',
  'priority_timeout',
  'subject_delete_marker_ttl',
])
const SUFFIX = '_ms'

/** A configuration from JetStream, with its durations in milliseconds. */
export function toWire(config: JetStreamConfig): Record<string, unknown> {
  return mapFields(config, (name, value) =>
    DURATIONS.has(name) ? [name + SUFFIX, mapNumbers(value, nanosToMs)] : [name, value],
  )
}

/** Undoes `toWire`. */
export function toJetStream(config: JetStreamConfig): Record<string, unknown> {
  return mapFields(config, (name, value) => {
    const own = name.slice(0, -SUFFIX.length)
    return name.endsWith(SUFFIX) && DURATIONS.has(own) ? [own, mapNumbers(value, msToNanos)] : [name, value]
  })
}

function mapFields(
  config: JetStreamConfig,
  change: (name: string, value: unknown) => [string, unknown],
): Record<string, unknown> {
  const entries = Object.entries(config).filter(([, value]) => value !== undefined)
  return Object.fromEntries(
    entries.map(([name, value]) =>
      change(name, isRecord(value) && name !== 'metadata' ? mapFields(value, change) : value),
    ),
  )
}

function mapNumbers(value: unknown, change: (number: number) => number): unknown {
  if (typeof value === 'number') return change(value)
  return Array.isArray(value) ? value.map((item) => mapNumbers(item, change)) : value
}

function isRecord(value: unknown): value is JetStreamConfig {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
