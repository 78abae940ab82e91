/** JetStream stores of which a copy is taken, and put back later: of one server, and of the majority of a cluster. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inStep, leaderOf } from '../../publishing/leader.ts'
import { startCluster, startNats, type TestNats, waitForLeader } from '../../support/nats.ts'
import type { RowRun } from '../row.ts'

export interface CopiedStore {
  readonly name: string
  readonly replicas: number
  /** Of all its servers. */
  readonly wsUrl: string
  /** Of one of those that get the copy. */
  readonly nativeUrl: string
  /** In order: all that is stored is in the copy. */
  takeCopy(streams: readonly string[]): Promise<void>
  /** Kills the servers, puts the copy back and has them serve again. */
  putBack(streams: readonly string[]): Promise<void>
  /** Once the copy is in use: a server that has not got it back joins the others. */
  complete(streams: readonly string[]): Promise<void>
}

const newFolder = (run: RowRun): string => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-copy-'))
  run.defer(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const storeOf = async ({ monitorUrl }: TestNats): Promise<string> => {
  const { config } = (await (await fetch(`${monitorUrl}/jsz`)).json()) as { config: { store_dir: string } }
  return config.store_dir
}

function replace(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true })
  cpSync(from, to, { recursive: true })
}

export async function startSingleStore(run: RowRun): Promise<CopiedStore> {
  const nats = await startNats()
  run.defer(() => nats.stop())
  const [store, copy] = [await storeOf(nats), join(newFolder(run), 'jetstream')]
  return {
    name: 'one server',
    replicas: 1,
    wsUrl: nats.wsUrl,
    nativeUrl: nats.wsUrl,
    takeCopy: async () => {
      await nats.stop()
      replace(store, copy)
      await nats.restart()
    },
    putBack: async () => {
      await nats.kill()
      replace(copy, store)
      await nats.restart()
    },
    complete: async () => undefined,
  }
}

/** Three nodes: two get their copy back, the third has lost all and comes to them later. */
export async function startMajorityStore(run: RowRun): Promise<CopiedStore> {
  const cluster = await startCluster()
  run.defer(() => cluster.stop())
  const { nodes } = cluster
  const folder = newFolder(run)
  const stores = await Promise.all(nodes.map(storeOf))
  const copied = nodes.slice(0, 2).map((node, index) => ({
    node,
    store: stores[index] ?? '',
    copy: join(folder, String(index)),
  }))
  const settled = async (streams: readonly string[]) => {
    for (const stream of streams) await inStep(cluster, stream)
  }
  return {
    name: 'two of three servers, the third lost',
    replicas: 3,
    wsUrl: cluster.wsUrl,
    nativeUrl: nodes[0]?.wsUrl ?? '',
    takeCopy: async (streams) => {
      await settled(streams)
      await Promise.all(nodes.map((node) => node.stop()))
      for (const { store, copy } of copied) replace(store, copy)
      await Promise.all(nodes.map((node) => node.restart()))
      await waitForLeader(nodes)
      await settled(streams)
    },
    putBack: async (streams) => {
      await Promise.all(nodes.map((node) => node.kill()))
      for (const { store, copy } of copied) replace(copy, store)
      const majority = copied.map(({ node }) => node)
      await Promise.all(majority.map((node) => node.restart()))
      await waitForLeader(majority, nodes.length)
      for (const stream of streams) await leaderOf(cluster, stream, majority)
    },
    complete: async (streams) => {
      rmSync(stores[copied.length] ?? '', { recursive: true, force: true })
      await nodes[copied.length]?.restart()
      await waitForLeader(nodes)
      await settled(streams)
    },
  }
}
