/** What the adapter's tests share: settings for a server, streams with messages, and waiting for a fact. */
import { openJetStream } from '../../src/adapters/nats/index.ts'
import type { BridgeError } from '../../src/errors.ts'
import type { JetStream, JetStreamConfig, NatsCredential, PubAck } from '../../src/jetstream.ts'
import { readSettings, type Settings } from '../../src/settings.ts'

const UTF8 = new TextEncoder()
export const bytes = (text: string): Uint8Array => UTF8.encode(text)
export const textOf = (payload: Uint8Array): string => new TextDecoder().decode(payload)

export const settingsFor = (wsUrl: string, more: Record<string, string> = {}): Settings =>
  readSettings({ AUTH: 'none', NATS_URL: wsUrl, TOKEN_KEYS: `a:${'A'.repeat(43)}`, ...more })

const OWN: NatsCredential = { kind: 'own' }

export const open = (wsUrl: string, more: Record<string, string> = {}, credential: NatsCredential = OWN) =>
  openJetStream(settingsFor(wsUrl, more), credential)

export const publishText = (
  jetstream: JetStream,
  subject: string,
  text: string,
  headers: Record<string, string[]> = {},
): Promise<PubAck> => jetstream.publish({ subject, payload: bytes(text), headers })

let streams = 0

/** Makes a stream of its own for a test; its subjects are everything below its name. */
export async function makeStream(jetstream: JetStream, config: JetStreamConfig = {}): Promise<string> {
  streams += 1
  const name = `S${streams}`
  await jetstream.createStream({
    name,
    subjects: [`${name}.>`],
    storage: 'memory',
    allow_direct: true,
    ...config,
  })
  return name
}

/** Resolves once `look` says something; the test's own time-out ends the wait. */
export async function eventually<Found>(
  look: () => Found | Promise<Found>,
): Promise<Exclude<Found, false | undefined>> {
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found as Exclude<Found, false | undefined>
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** The failure of ours that a call ends with. */
export async function failureOf(call: Promise<unknown>): Promise<BridgeError> {
  try {
    await call
  } catch (err) {
    return err as BridgeError
  }
  throw new Error('The call was expected to fail.')
}

export const codeOf = async (call: Promise<unknown>): Promise<string> => (await failureOf(call)).code

/** A listener's part that always wants more. */
export const EAGER = { windowBytes: 1_048_576, ready: () => undefined }
