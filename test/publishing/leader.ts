/** Knowing which node of a cluster leads a stream, or the cluster, and having it led by another. */
import { until } from '../contract/expectations.ts'
import { openNative } from '../live/native.ts'
import type { TestCluster, TestNats } from '../support/nats.ts'
import { askNode, detailOf } from './monitor.ts'

/** As `startCluster` calls it. */
const nameOf = ({ nodes }: TestCluster, node: TestNats) => `n${nodes.indexOf(node) + 1}`

/** The one of `nodes` that says of itself that it leads a stream, once there is one. */
export const leaderOf = (cluster: TestCluster, stream: string, nodes = cluster.nodes): Promise<TestNats> =>
  until(`a leader of ${stream}`, async () => {
    for (const node of nodes) {
      const said = await askNode(node).catch(() => undefined)
      if (said && detailOf(said, stream)?.cluster?.leader === nameOf(cluster, node)) return node
    }
    return undefined
  })

/** The node that leads the cluster itself: it alone answers for what is not of one stream. */
export const metaLeaderOf = (cluster: TestCluster): Promise<TestNats> =>
  until('a leader of the cluster', async () => {
    for (const node of cluster.nodes)
      if ((await askNode(node)).meta_cluster?.leader === nameOf(cluster, node)) return node
    return undefined
  })

/** Has `node` lead a stream. */
export async function handOver(cluster: TestCluster, stream: string, node: TestNats): Promise<void> {
  const native = await openNative(node.wsUrl)
  try {
    await until(`${stream} led by ${nameOf(cluster, node)}`, async () => {
      if ((await leaderOf(cluster, stream)) === node) return true
      await native.ask(`STREAM.LEADER.STEPDOWN.${stream}`, {
        placement: { preferred: nameOf(cluster, node) },
      })
      return false
    })
  } finally {
    await native.close()
  }
}

/** Settles when the leader of a stream says that all its replicas have what it has. */
export async function inStep(cluster: TestCluster, stream: string): Promise<void> {
  await until(`replicas of ${stream} in step`, async () => {
    const leader = await leaderOf(cluster, stream)
    const { replicas = [] } = detailOf(await askNode(leader), stream)?.cluster ?? {}
    return replicas.length === cluster.nodes.length - 1 && replicas.every(({ current }) => current)
  })
}
