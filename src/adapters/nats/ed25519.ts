/** Ed25519 as nats.ws asks for it in the Worker's bundle, by the runtime's own crypto: see scripts/cut-packages.ts. */
import { createPrivateKey, createPublicKey, type KeyObject, sign as signWith } from 'node:crypto'

const SEED_BYTES = 32
/** What stands before the seed in a private key's DER. Source: RFC 8410, Algorithm Identifiers for Ed25519. */
const PKCS8 = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]

function privateKey(seed: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from([...PKCS8, ...seed]), format: 'der', type: 'pkcs8' })
}

/** The keys of a seed; the secret one is the seed with the public one behind it. */
export function fromSeed(seed: Uint8Array): { publicKey: Uint8Array; secretKey: Uint8Array } {
  const spki = createPublicKey(privateKey(seed)).export({ format: 'der', type: 'spki' })
  const publicKey = new Uint8Array(spki.subarray(-SEED_BYTES))
  return { publicKey, secretKey: new Uint8Array([...seed, ...publicKey]) }
}

/** The signature of a message. */
export function sign(message: Uint8Array, secretKey: Uint8Array): Uint8Array {
  return new Uint8Array(signWith(null, message, privateKey(secretKey.subarray(0, SEED_BYTES))))
}
