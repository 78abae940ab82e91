/** Row 2: all nodes of the cluster are killed at once, and started again. */
import { setTimeout as delay } from 'node:timers/promises'
import { waitForLeader } from '../../support/nats.ts'
import { setStage } from '../load/stage.ts'
import type { Row } from '../row.ts'

const LATEST_MS = 2_000

export const allKilledRow: Row = {
  number: 2,
  fault: 'all nodes SIGKILLed, restarted',
  shows: ['I1', 'I2', 'I3', 'I4', 'I5', 'I8', 'I9'],
  async run(run) {
    const stage = await setStage(run, { nodes: 3 })
    const random = run.random('when')
    for (let round = run.rounds({ full: 5, part: 1 }); round > 0; round -= 1) {
      await delay(random() * LATEST_MS)
      await Promise.all(stage.nodes.map((node) => node.kill()))
      run.injected('all nodes SIGKILLed', stage.nodes.length)
      await delay(random() * LATEST_MS)
      await Promise.all(stage.nodes.map((node) => node.restart()))
      await waitForLeader([...stage.nodes])
      await stage.goOn()
    }
    await stage.finish()
  },
}
