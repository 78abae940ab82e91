/** The proof that the bridge signs in with the keys of a credentials file, by each host's own crypto. */
import { nkeys } from 'nats.ws'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const TEXT = new TextDecoder()

/** As `nsc` writes it. Without an operator, nats-server looks at the key alone. */
const credsFile = (seed: Uint8Array): string => `-----BEGIN NATS USER JWT-----
not.looked.at
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
${TEXT.decode(seed)}
------END USER NKEY SEED------
`

describe.each(HOSTS)('NATS_CREDS on %s', (host) => {
  const known = nkeys.createUser()
  const hosts: TestHost[] = []
  let nats: TestNats

  const listing = async (seed: Uint8Array): Promise<number> => {
    const started = await startHost(host, { natsUrl: nats.wsUrl, env: { NATS_CREDS: credsFile(seed) } })
    hosts.push(started)
    return (await fetch(`${started.url}/v1/streams`)).status
  }

  beforeAll(async () => {
    nats = await startNats({ configText: `authorization { users: [ { nkey: ${known.getPublicKey()} } ] }` })
  })
  afterAll(async () => {
    await Promise.all(hosts.map((one) => one.stop()))
    await nats?.stop()
  })

  test('200 with a key that the server knows, 401 with another', async () => {
    expect(await listing(known.getSeed())).toBe(200)
    expect(await listing(nkeys.createUser().getSeed())).toBe(401)
  })
})
