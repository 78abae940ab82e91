/** The mark of a tenant in entity tags: another tenant's tag must not be taken for its own. */
import { createHmac } from 'node:crypto'
import type { Keyring } from './seal.ts'

const PURPOSE = 'sluice entity tags'
/** Of a keyed digest in base64url: 72 bits. */
const MARK_CHARS = 12

/** Keyed, so that a tag tells nothing of the credential. */
export function tagMarkOf([{ secret }]: Keyring, tenant: string): string {
  const digest = createHmac('sha256', secret).update(`${PURPOSE}\0${tenant}`).digest('base64url')
  return digest.slice(0, MARK_CHARS)
}
