/** Row 10: leaders of stream, consumer and cluster that step down all the time, and consumers that stall or go away. */
import { setTimeout as delay } from 'node:timers/promises'
import { range } from '../../contract/expectations.ts'
import { type Native, openNative } from '../../live/native.ts'
import { reasonOf } from '../load/history.ts'
import { CONSUMER, STREAM, type Stage, setStage } from '../load/stage.ts'
import { jsonOf } from '../load/workers.ts'
import { CREW } from '../load/workload.ts'
import type { Row, RowRun } from '../row.ts'

const BETWEEN_MS = 400
/** Between two requests of a client: without a fault this cluster stores more than a process wants to remember. */
const PAUSE_MS = 100
const WAIT_MS = 1_500
/** After what it asked to wait, or after the consumer went away. */
const LATE_MS = 3_000
const STALL = 'stall'

export const troubledConsumersRow: Row = {
  number: 10,
  fault: 'leaders step down in a loop; consumer stalled at max_ack_pending, deleted under a pull',
  shows: ['I1', 'I2', 'I3', 'I4', 'I5', 'I8', 'I9'],
  async run(run) {
    const stage = await setStage(run, { nodes: 3, crew: { ...CREW, pauseMs: PAUSE_MS } })
    const native = await openNative(stage.nodes[0]?.wsUrl ?? '')
    run.defer(() => native.close())
    await stepDownInALoop(run, stage, native)
    await stage.finish()
    const rounds = run.rounds({ full: 8, part: 1 })
    for (const instance of stage.instances)
      for (const round of range(1, rounds)) {
        await pullStalled(run, instance, `${STALL}-${instance.name}-${round}`)
        await pullDeleted(run, instance, `gone-${instance.name}-${round}`)
      }
  },
}

async function stepDownInALoop(run: RowRun, stage: Stage, native: Native): Promise<void> {
  const what = [
    `STREAM.LEADER.STEPDOWN.${STREAM}`,
    `CONSUMER.LEADER.STEPDOWN.${STREAM}.${CONSUMER}`,
    'META.LEADER.STEPDOWN',
  ]
  const random = run.random('who')
  for (let round = run.rounds({ full: 80, part: 8 }); round > 0; round -= 1) {
    const path = what[Math.floor(random() * what.length)] ?? ''
    // Between two leaders there is nobody to step down.
    const isDone = await native.ask(path).then(
      () => true,
      () => false,
    )
    if (isDone) run.injected(`leader stepped down: ${path.split('.').slice(0, 1)}`)
    await delay(BETWEEN_MS)
  }
  await stage.goOn()
}

interface Bridge {
  readonly name: string
  readonly url: string
}

interface PullEnd {
  readonly ms: number
  readonly status: number
  readonly count: number
  readonly code: string | undefined
}

async function pull({ url }: Bridge, consumer: string, batch: number): Promise<PullEnd> {
  const beganAt = performance.now()
  const answer = await fetch(`${url}/v1/streams/${STREAM}/consumers/${consumer}/pull`, {
    ...jsonOf({ batch, wait_ms: WAIT_MS }),
    signal: AbortSignal.timeout(WAIT_MS + 4 * LATE_MS),
  })
  const body = (await answer.json()) as {
    messages?: object[]
    code?: string
    error?: { code: string }
  }
  const code = body.error?.code ?? body.code
  return { ms: performance.now() - beganAt, status: answer.status, count: body.messages?.length ?? 0, code }
}

async function make({ url }: Bridge, consumer: string, config: object): Promise<void> {
  const answer = await fetch(`${url}/v1/streams/${STREAM}/consumers/${consumer}`, {
    ...jsonOf(config),
    method: 'PUT',
  })
  if (!answer.ok) throw new Error(`${consumer} was not made: ${await answer.text()}`)
}

/** A consumer that hands out no more until something is acknowledged: a pull ends empty, when it asked to. */
async function pullStalled(run: RowRun, bridge: Bridge, consumer: string): Promise<void> {
  const most = 5
  await make(bridge, consumer, { max_ack_pending: most, ack_wait_ms: 60_000 })
  const first = await pull(bridge, consumer, 2 * most)
  if (first.count !== most) throw new Error(`${consumer} handed out ${first.count}, not ${most}`)
  run.injected('consumer stalled at max_ack_pending')
  const second = await pull(bridge, consumer, 1)
  if (
    second.status !== 200 ||
    second.count !== 0 ||
    second.code !== undefined ||
    second.ms > WAIT_MS + LATE_MS
  )
    run.broken('I9', `${bridge.name}: a pull of a stalled consumer came to ${JSON.stringify(second)}`)
}

/** A consumer that is deleted while a pull waits for it: the pull says so, soon. */
async function pullDeleted(run: RowRun, bridge: Bridge, consumer: string): Promise<void> {
  await make(bridge, consumer, { filter_subjects: [`${STREAM.toLowerCase()}.nothing`] })
  const pulling = pull(bridge, consumer, 1).catch((err: unknown) => reasonOf(err))
  await delay(WAIT_MS / 3)
  await fetch(`${bridge.url}/v1/streams/${STREAM}/consumers/${consumer}`, { method: 'DELETE' })
  run.injected('consumer deleted under a pull')
  const ended = await pulling
  const isTold =
    typeof ended !== 'string' && ended.code === 'consumer_not_found' && ended.ms < WAIT_MS + LATE_MS
  if (!isTold)
    run.broken('I9', `${bridge.name}: a pull of a deleted consumer came to ${JSON.stringify(ended)}`)
}
