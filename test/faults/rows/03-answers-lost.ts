/** Row 3: what JetStream answers is lost on its way to the bridge, and the leader of the stream is paused. */
import { setTimeout as delay } from 'node:timers/promises'
import { leaderOf } from '../../publishing/leader.ts'
import { STREAM, type Stage, setStage } from '../load/stage.ts'
import type { Row, RowRun } from '../row.ts'

/** How long answers are lost: long enough that some are, short enough that the connection is not given up for it. */
const DEAF_MS = 150
const PAUSE_MS = { least: 500, most: 9_000 }

export const answersLostRow: Row = {
  number: 3,
  fault: 'answers of JetStream lost, leader paused (SIGSTOP)',
  shows: ['I1', 'I2', 'I3', 'I4', 'I5', 'I8', 'I9'],
  async run(run) {
    const stage = await setStage(run, { nodes: 3, proxied: true, mayBreak: false })
    for (let round = run.rounds({ full: 60, part: 6 }); round > 0; round -= 1) await loseAnswers(run, stage)
    const random = run.random('how long')
    for (let round = run.rounds({ full: 5, part: 1 }); round > 0; round -= 1) {
      await pauseLeader(run, stage, PAUSE_MS.least + random() * (PAUSE_MS.most - PAUSE_MS.least))
    }
    await stage.finish()
  },
}

/** Each connection to NATS loses what comes on it for a while, and then breaks. */
async function loseAnswers(run: RowRun, { natsProxies, goOn }: Stage): Promise<void> {
  for (const proxy of natsProxies) proxy.setWeather({ deafToServer: true })
  await delay(DEAF_MS)
  run.injected(
    'a connection to NATS that lost its answers, and broke',
    natsProxies.reduce((sum, proxy) => sum + proxy.reset(), 0),
  )
  for (const proxy of natsProxies) proxy.setWeather({})
  await goOn()
}

async function pauseLeader(run: RowRun, { cluster, goOn }: Stage, ms: number): Promise<void> {
  if (!cluster) throw new Error('Row 3 needs a cluster.')
  const leader = await leaderOf(cluster, STREAM)
  await leader.pause()
  run.injected('leader paused')
  await delay(ms)
  leader.resume()
  await goOn()
}
