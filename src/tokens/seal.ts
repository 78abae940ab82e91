/** Sealing: bytes into an opaque text that only the bridge's keys can make or read. */
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomFillSync,
} from 'node:crypto'
import { BadSettings } from '../settings.ts'

const CIPHER = 'aes-256-gcm'
/** Sets the derived key apart from any other that may be derived some day. */
const BLOCK_PURPOSE = 'sluice token blocks'
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** The longest token that is looked at: it still goes into a URL or a header. */
export const MAX_TOKEN_CHARS = 8_192

/** Seals and opens tokens of one purpose. Nothing sealed for one purpose or tenant opens for another. */
export interface Sealer {
  /** `purpose.keyId.base64url(nonce, sealed bytes, tag)`. */
  seal(plain: Uint8Array): string
  /** Undefined: forged, damaged, of another purpose or tenant, or by a key that is no more. */
  open(token: string): Uint8Array | undefined
}

export interface Key {
  readonly id: string
  readonly secret: KeyObject
  /** Derived from it, for sealing blocks in bulk. */
  readonly blockSecret: KeyObject
}

/** The keys in order: the first seals, all open. */
export type Keyring = readonly [Key, ...Key[]]

const badKeys = (message: string) => new BadSettings([{ name: 'TOKEN_KEYS', message }])

/**
 * Reads `id:base64url` texts, as the setting TOKEN_KEYS has them.
 * Throws where a key is not 32 bytes, or where two have one id: a token names its key by the id alone.
 */
export function readKeyring(texts: readonly string[]): Keyring {
  const [first, ...others] = texts.map(readKey)
  if (!first) throw badKeys('must hold at least one key')
  const ids = new Set([first, ...others].map(({ id }) => id))
  if (ids.size < texts.length) throw badKeys('each key must have an id of its own')
  return [first, ...others]
}

function readKey(text: string): Key {
  const [id = '', encoded = ''] = text.split(':')
  const bytes = Buffer.from(encoded, 'base64url')
  if (bytes.length !== 32) throw badKeys('a key must be 32 bytes')
  const derived = hkdfSync('sha256', bytes, '', BLOCK_PURPOSE, bytes.length)
  return { id, secret: createSecretKey(bytes), blockSecret: createSecretKey(Buffer.from(derived)) }
}

// Random bytes are drawn for many nonces at once: each draw costs more than a seal.
const nonces = Buffer.alloc(NONCE_BYTES * 512)
let noncesUsed = nonces.length

function nextNonce(): Buffer {
  if (noncesUsed === nonces.length) {
    randomFillSync(nonces)
    noncesUsed = 0
  }
  noncesUsed += NONCE_BYTES
  return nonces.subarray(noncesUsed - NONCE_BYTES, noncesUsed)
}

/**
 * A sealer for one purpose, such as `c1`, within one `context`, such as a tenant.
 * AES-256-GCM with a random nonce; purpose, key id and context are authenticated with the content.
 */
export function createSealer(keyring: Keyring, purpose: string, context: string): Sealer {
  const additional = (keyId: string) => Buffer.from(`${purpose}.${keyId}.${context}`)
  const sealing = keyring[0]
  const sealingPrefix = `${purpose}.${sealing.id}.`
  const sealingAdditional = additional(sealing.id)
  const opening = new Map(keyring.map((key) => [key.id, { key, additional: additional(key.id) }]))

  return {
    seal(plain) {
      const nonce = nextNonce()
      const cipher = createCipheriv(CIPHER, sealing.secret, nonce)
      cipher.setAAD(sealingAdditional)
      const sealed = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
      return sealingPrefix + sealed.toString('base64url')
    },

    open(token) {
      if (token.length > MAX_TOKEN_CHARS) return undefined
      const [tokenPurpose, keyId, encoded, ...rest] = token.split('.')
      const known = opening.get(keyId ?? '')
      if (tokenPurpose !== purpose || !known || encoded === undefined || rest.length > 0) return undefined
      const sealed = Buffer.from(encoded, 'base64url')
      // Base64 decoders pass over what they do not know: only the one spelling of these bytes is ours.
      if (sealed.toString('base64url') !== encoded || sealed.length < NONCE_BYTES + TAG_BYTES)
        return undefined
      return decrypt(known.key, known.additional, sealed)
    },
  }
}

function decrypt(key: Key, additional: Uint8Array, sealed: Buffer): Uint8Array | undefined {
  try {
    const tagAt = sealed.length - TAG_BYTES
    const decipher = createDecipheriv(CIPHER, key.secret, sealed.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    })
    decipher.setAAD(additional)
    decipher.setAuthTag(sealed.subarray(tagAt))
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, tagAt)), decipher.final()])
  } catch {
    return undefined
  }
}
