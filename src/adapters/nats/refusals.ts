/** Hearing of publishes that the server refuses: nats.ws tells a request of its own refusal in most cases alone. */
import { Events, type NatsConnection } from 'nats.ws'

type Listener = (quotedSubject: string) => void

const listening = new WeakMap<NatsConnection, Set<Listener>>()

/** What Go prints as it is, and what is none of that. Source: Go, strconv.Quote. */
const UNPRINTED = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu

/** A subject as it stands in a refusal: nats-server prints it by Go's %q. */
export const quoted = (subject: string): string =>
  subject.replace(/["\\]/g, '\\$&').replace(UNPRINTED, escaped)

function escaped(character: string): string {
  const hex = (character.codePointAt(0) ?? 0).toString(16)
  return hex.length > 4 ? `\\U${hex.padStart(8, '0')}` : `\\u${hex.padStart(4, '0')}`
}

/** Calls `listener` with each subject that may not be published to. Answers how to end that. */
export function onRefused(client: NatsConnection, listener: Listener): () => void {
  const listeners = listening.get(client) ?? listen(client)
  listeners.add(listener)
  return () => listeners.delete(listener)
}

function listen(client: NatsConnection): Set<Listener> {
  const listeners = new Set<Listener>()
  listening.set(client, listeners)
  const hear = async () => {
    for await (const { type, permissionContext } of client.status()) {
      if (type !== Events.Error || permissionContext?.operation !== 'publish') continue
      for (const listener of [...listeners]) listener(permissionContext.subject)
    }
  }
  hear().catch(() => undefined)
  return listeners
}
