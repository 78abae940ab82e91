/** The `Nats-Msg-Id` of an idempotency key: tenants who publish to one stream must not meet in its one set of ids. */
import { createHmac } from 'node:crypto'
import type { MessageIdOf } from '../schemas/names.ts'
import type { Keyring } from './seal.ts'

const PURPOSE = 'sluice message ids'
const MARK = '~'
/** Of a keyed digest in base64url: 96 bits. */
const PREFIX_CHARS = 16
/** The bridge's own user, with which it publishes for all where AUTH=none. */
const OWN_TENANT = 'own'

/**
 * Ids of one tenant. Its keys stand behind `~…~`, which tells those who read the stream nothing of its credential. It is
 * made by the oldest key of the ring, so that a new one in front changes no id. Keys of the bridge's own user stay as they
 * are, but for those that look like another's.
 */
export function createMessageIds(keyring: Keyring, tenant: string): MessageIdOf {
  const { secret } = keyring.at(-1) ?? keyring[0]
  const digest = createHmac('sha256', secret).update(`${PURPOSE}\0${tenant}`).digest('base64url')
  const prefix = MARK + digest.slice(0, PREFIX_CHARS) + MARK
  return (key) => (tenant === OWN_TENANT && !key.startsWith(MARK) ? key : prefix + key)
}
