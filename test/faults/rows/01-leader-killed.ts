/** Row 1: the leader of a stream is killed every few seconds, while it is published to, read and worked on. */
import { setTimeout as delay } from 'node:timers/promises'
import { leaderOf } from '../../publishing/leader.ts'
import { waitForLeader } from '../../support/nats.ts'
import { STREAM, setStage } from '../load/stage.ts'
import type { Row } from '../row.ts'

const LATEST_MS = 1_500

export const leaderKilledRow: Row = {
  number: 1,
  fault: 'leader SIGKILLed, again and again, while publishing and reading',
  shows: ['I1', 'I2', 'I3', 'I4', 'I5', 'I8', 'I9'],
  async run(run) {
    const stage = await setStage(run, { nodes: 3 })
    const { cluster } = stage
    if (!cluster) throw new Error('Row 1 needs a cluster.')
    const random = run.random('when')
    for (let round = run.rounds({ full: 8, part: 1 }); round > 0; round -= 1) {
      const leader = await leaderOf(cluster, STREAM)
      await delay(random() * LATEST_MS)
      await leader.kill()
      run.injected('leader SIGKILLed')
      await leaderOf(
        cluster,
        STREAM,
        cluster.nodes.filter((node) => node !== leader),
      )
      await stage.goOn()
      await leader.restart()
      await waitForLeader(cluster.nodes)
      await stage.goOn()
    }
    await stage.finish()
  },
}
