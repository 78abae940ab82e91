/** Row 11: instances of the bridge are killed in the middle of all that they do, and each request goes to another. */
import { setTimeout as delay } from 'node:timers/promises'
import { setStage } from '../load/stage.ts'
import type { Row } from '../row.ts'

const LATEST_MS = 600

export const bridgeKilledRow: Row = {
  number: 11,
  fault: 'the bridge SIGKILLed in the middle of everything; another instance for every request',
  shows: ['I1', 'I2', 'I3', 'I4', 'I5', 'I8', 'I9'],
  async run(run) {
    const stage = await setStage(run, { nodes: 1, instances: 2, mayBreak: true })
    const random = run.random('who and when')
    for (let round = run.rounds({ full: 50, part: 4 }); round > 0; round -= 1) {
      await delay(random() * LATEST_MS)
      const instance = stage.instances[Math.floor(random() * stage.instances.length)]
      await instance?.restart()
      run.injected(`an instance SIGKILLed: ${instance?.name}`)
    }
    await stage.goOn()
    await stage.finish()
  },
}
