/** Row 12: the cluster is restarted node by node, each by its lame duck mode. */
import { setTimeout as delay } from 'node:timers/promises'
import { until } from '../../contract/expectations.ts'
import { type TestNats, waitForLeader } from '../../support/nats.ts'
import { wasAnswered } from '../load/history.ts'
import { setStage } from '../load/stage.ts'
import type { Row } from '../row.ts'

/** JetStream's least duration; with few clients a node is gone soon after the grace period. */
const LAME_DUCK = 'lame_duck_duration: "30s"\nlame_duck_grace_period: "3s"'
const GONE_MS = 60_000

export const rollingRestartRow: Row = {
  number: 12,
  fault: 'lame duck and rolling restart of the cluster',
  shows: ['I1', 'I2', 'I3', 'I4', 'I5', 'I8', 'I9'],
  async run(run) {
    const stage = await setStage(run, { nodes: 3, configText: LAME_DUCK })
    const before = stage.history.exchanges.length
    const nodes = stage.nodes.slice(0, run.rounds({ full: 3, part: 1 }))
    for (const node of nodes) {
      process.kill(node.pid(), 'SIGUSR2')
      run.injected('node in lame duck mode, then restarted')
      await until('the node has gone', async () => isGone(node), GONE_MS)
      await stage.goOn()
      await node.restart()
      await waitForLeader([...stage.nodes])
      await stage.goOn()
      await delay(500)
    }
    await stage.finish()
    const asked = stage.history.exchanges.slice(before)
    const failed = asked.filter(({ outcome }) => !wasAnswered(outcome) || outcome.status >= 300)
    run.figure(`${failed.length} of ${asked.length} requests failed`)
  },
}

function isGone(node: TestNats): boolean {
  try {
    process.kill(node.pid(), 0)
    return false
  } catch {
    return true
  }
}
