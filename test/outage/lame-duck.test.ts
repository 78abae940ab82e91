/** A cluster is restarted node by node, each in lame duck mode first: nobody who publishes or reads is told of it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { range, until } from '../contract/expectations.ts'
import { openEvents } from '../operating/event-client.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startCluster, type TestCluster, type TestNats, waitForLeader } from '../support/nats.ts'

/** After the grace the server closes its clients one by one; a request that an election swallows ends before. */
const LAME_DUCK = 'lame_duck_duration: "30s"\nlame_duck_grace_period: "4s"'
const REQUEST_TIMEOUT_MS = '1500'
const RESTART_MS = 40_000
const PAUSE_MS = 10

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** The bridge's connections to a node. */
const connectionsTo = async (node: TestNats): Promise<number> => {
  const { connections } = (await (await fetch(`${node.monitorUrl}/connz`)).json()) as {
    connections: { name?: string }[]
  }
  return connections.filter(({ name }) => name === 'sluice').length
}

describe.each(HOSTS)('%s before a cluster in lame duck', (name) => {
  let cluster: TestCluster
  let host: TestHost

  beforeAll(async () => {
    cluster = await startCluster(3, { configText: LAME_DUCK })
    host = await startHost(name, {
      natsUrl: cluster.wsUrl,
      env: { HEARTBEAT_MS: '1000', REQUEST_TIMEOUT_MS },
    })
    await fetch(`${host.url}/v1/streams`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'LAME', subjects: ['lame.>'], num_replicas: 3 }),
    })
  })
  afterAll(async () => {
    await host?.stop()
    await cluster?.stop()
  })

  it('every publish with a key is stored once, and no reader is cut off or misses anything', {
    timeout: 4 * RESTART_MS,
  }, async () => {
    const failures: string[] = []
    let published = 0
    let isOver = false
    const publishAll = async () => {
      while (!isOver) {
        published += 1
        const n = published
        const answer = await fetch(`${host.url}/v1/subjects/lame.a/messages`, {
          method: 'POST',
          headers: { 'Idempotency-Key': `key-${n}` },
          body: `m${n}`,
        })
        const text = await answer.text()
        if (answer.status !== 201) failures.push(`${n}: ${answer.status} ${text}`)
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
      }
    }
    const reader = openEvents(`${host.url}/v1/streams/LAME/messages?start=beginning`)
    let isCut = false
    reader.ended.then(
      () => {
        isCut = true
      },
      () => {
        isCut = true
      },
    )
    const publishing = publishAll()
    await until('the first messages', async () => reader.messages.length > 10)

    for (const node of cluster.nodes) {
      const used = await connectionsTo(node)
      const pid = node.pid()
      process.kill(pid, 'SIGUSR2')
      if (used > 0)
        await until(
          'the bridge leaves before it is cut off',
          async () => (await connectionsTo(node)) === 0 && isAlive(pid),
          RESTART_MS,
        )
      await until('the node has ended', async () => !isAlive(pid), RESTART_MS)
      await node.restart()
      await waitForLeader(cluster.nodes)
    }
    isOver = true
    await publishing
    await until('the last message', async () => reader.messages.at(-1)?.data === `m${published}`)

    expect(failures).toEqual([])
    expect(isCut).toBe(false)
    expect(reader.messages.map(({ data }) => data)).toEqual(range(1, published).map((n) => `m${n}`))
    reader.close()
  })
})
