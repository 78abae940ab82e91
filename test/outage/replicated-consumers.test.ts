/** A consumer with replicas hands out in one pull what is at hand, though JetStream says that it has before it does. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Delivery } from '../contract/client.ts'
import { range } from '../contract/expectations.ts'
import { openNative } from '../live/native.ts'
import { inStep } from '../publishing/leader.ts'
import { makeStream } from '../publishing/stored.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startCluster, type TestCluster } from '../support/nats.ts'

const STREAMS = 4
const MESSAGES = 20

describe('a consumer with three replicas', { timeout: 60_000 }, () => {
  let cluster: TestCluster
  let hosts: TestHost[] = []

  beforeAll(async () => {
    cluster = await startCluster()
    hosts = await Promise.all(HOSTS.map((name) => startHost(name, { natsUrl: cluster.wsUrl })))
  })
  afterAll(async () => {
    await Promise.all(hosts.map((host) => host.stop()))
    await cluster?.stop()
  })

  /** As many messages as a pull asks for, in a stream of the host's own. */
  const prepare = async ({ url, name }: TestHost, n: number): Promise<string> => {
    const stream = `${name.toUpperCase()}${n}`
    await makeStream(url, stream, { num_replicas: 3 })
    await fetch(`${url}/v1/streams/${stream}/consumers/work`, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/json' },
      body: '{}',
    })
    const native = await openNative(cluster.nodes[0]?.wsUrl ?? '')
    for (const seq of range(1, MESSAGES))
      await native.publish({
        subject: `${stream.toLowerCase()}.a`,
        payload: Buffer.from(String(seq)),
        headers: {},
      })
    await native.close()
    await inStep(cluster, stream)
    return stream
  }

  it.each(HOSTS)('gives a pull all that it asks for, %s', async (name) => {
    const host = hosts.find((one) => one.name === name)
    if (!host) throw new Error(`${name} was not started`)
    for (const n of range(1, STREAMS)) {
      const stream = await prepare(host, n)
      const answer = await fetch(`${host.url}/v1/streams/${stream}/consumers/work/pull`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ batch: MESSAGES, wait_ms: 500 }),
      })
      const { messages } = (await answer.json()) as { messages: Delivery[] }
      expect(messages.map(({ seq }) => seq)).toEqual(range(1, MESSAGES))
    }
  })
})
