/** Row 9: of two workers on one consumer the slow one settles late, or right at its deadline. */
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Ack,
  type AckResult,
  type Client,
  type ConsumerBody,
  createClient,
  type Delivery,
} from '../../contract/client.ts'
import { inParallel } from '../../contract/expectations.ts'
import { type Native, openNative } from '../../live/native.ts'
import { type HostName, startHost } from '../../support/host.ts'
import { startNats, type TestNats } from '../../support/nats.ts'
import type { Row, RowRun } from '../row.ts'

const ACTIONS: readonly Ack['action'][] = ['ack', 'nak', 'term', 'progress']
const LEAST_WAIT_MS = 300
const MOST_WAIT_MS = 1_500
/** So far from its deadline may an ack be that is sent around it. */
const AROUND_MS = 400
const AT_ONCE = 30
const LEAST_ROUNDS_MS = 1_000

/** What was counted on one host. */
interface Counts {
  late: number
  stale: number
  around: number
  settled: number
  redelivered: number
}

/** One consumer with one message, and a draw of its own. */
interface Case {
  readonly run: RowRun
  readonly host: HostName
  readonly client: Client
  readonly native: Native
  readonly name: string
  readonly ackWaitMs: number
  /** When an ack around the deadline is sent: −1 to 1. */
  readonly offset: number
  readonly counts: Counts
}

const STREAM = 'WORK'
const pathOf = ({ name }: Case) => `/v1/streams/${STREAM}/consumers/${name}`
const broken = ({ run, host, ackWaitMs }: Case, what: string) =>
  run.broken('I5', `${host}, ack wait ${ackWaitMs} ms: ${what}`)

async function prepare({ native, name, ackWaitMs }: Case): Promise<void> {
  await native.ask(`CONSUMER.CREATE.${STREAM}.${name}`, {
    stream_name: STREAM,
    config: {
      durable_name: name,
      ack_policy: 'explicit',
      ack_wait: ackWaitMs * 1e6,
      filter_subject: `work.${name}`,
    },
  })
  await native.publish({ subject: `work.${name}`, payload: Buffer.from(name), headers: {} })
}

async function pullOne(one: Case, waitMs: number): Promise<Delivery | undefined> {
  const { messages } = await one.client.pull(pathOf(one), { batch: 1, wait_ms: waitMs })
  return messages[0]
}

const settle = async ({ client }: Case, ack: Ack): Promise<AckResult> => (await client.settle(ack))[0] ?? {}
const infoOf = (one: Case) => one.client.ok<ConsumerBody>(`GET ${pathOf(one)}`)

/** Long enough for what would be delivered again to have been. */
const pastWait = ({ ackWaitMs }: Case) => ackWaitMs + LEAST_ROUNDS_MS

/** The slow worker says everything it can say after the other has its message. */
async function settleLate(one: Case): Promise<void> {
  const { run, counts, host } = one
  const slow = await pullOne(one, 5_000)
  const other = await pullOne(one, pastWait(one) + 5_000)
  if (!slow || other?.delivery_count !== 2) {
    broken(one, `delivered ${slow ? 1 : 0} times, then as number ${other?.delivery_count}`)
    return
  }
  const before = await infoOf(one)
  for (const action of ACTIONS) {
    const { status, error } = await settle(one, { token: slow.ack_token, action })
    run.injected(`${host}: ${action} after another worker has the message`)
    counts.late += 1
    if (status === 'stale') counts.stale += 1
    else broken(one, `a late ${action} was answered ${status ?? error?.code}`)
  }
  const after = await infoOf(one)
  // Unless its own time is over by now.
  if (Date.now() < Date.parse(other.ack_deadline ?? '')) {
    if (after.num_ack_pending !== 1 || after.delivered.consumer_seq !== before.delivered.consumer_seq)
      broken(
        one,
        `the other's delivery was touched: ${after.num_ack_pending} pending, ${JSON.stringify(after.delivered)}`,
      )
  }
  const own = await settle(one, { token: other.ack_token, action: 'ack' })
  if (own.status === 'ok') {
    counts.settled += 1
    await checkNotAgain(one, 'the other worker had acknowledged it')
  } else if (Date.now() < Date.parse(other.ack_deadline ?? ''))
    broken(one, `the other's own ack was answered ${own.status ?? own.error?.code}`)
}

async function checkNotAgain(one: Case, because: string): Promise<void> {
  const again = await pullOne(one, pastWait(one))
  if (again) broken(one, `delivered again (${again.delivery_count}) though ${because}`)
  const { num_ack_pending } = await infoOf(one)
  if (num_ack_pending !== 0) broken(one, `${num_ack_pending} pending though ${because}`)
}

/** The slow worker says it is done right around its deadline, while the other already asks for the next message. */
async function settleAround(one: Case): Promise<void> {
  const { run, counts, host, offset } = one
  const slow = await pullOne(one, 5_000)
  if (!slow) throw new Error(`${host}: nothing was delivered`)
  const deadline = Date.parse(slow.ack_deadline ?? '')
  const sendAt = deadline + offset * Math.min(AROUND_MS, one.ackWaitMs / 2)
  const waiting = pullOne(one, pastWait(one))
  await delay(Math.max(0, sendAt - Date.now()))
  const { status, error } = await settle(one, { token: slow.ack_token, action: 'ack' })
  run.injected(`${host}: ack sent around its deadline`)
  counts.around += 1
  const again = await waiting
  if (status === 'ok') {
    counts.settled += 1
    if (again) broken(one, `delivered again (${again.delivery_count}) though its ack was ok`)
    return
  }
  if (status !== 'stale') broken(one, `an ack around its deadline was answered ${error?.code}`)
  if (again?.delivery_count !== 2) {
    broken(
      one,
      `its ack was ${status}, and it was delivered ${again ? `as number ${again.delivery_count}` : 'no more'}`,
    )
    return
  }
  counts.redelivered += 1
  const own = await settle(one, { token: again.ack_token, action: 'ack' })
  if (own.status !== 'ok' && Date.now() < Date.parse(again.ack_deadline ?? ''))
    broken(one, `the other's own ack was answered ${own.status ?? own.error?.code}`)
}

async function runOn(run: RowRun, name: HostName, nats: TestNats): Promise<void> {
  const host = await startHost(name, { natsUrl: nats.wsUrl })
  run.defer(() => host.stop())
  const client = await createClient(host.url)
  const native = await openNative(nats.wsUrl)
  run.defer(() => native.close())
  const counts: Counts = { late: 0, stale: 0, around: 0, settled: 0, redelivered: 0 }
  const random = run.random(name)
  const cases = Array.from({ length: run.rounds({ full: 240, part: 24 }) }, (_, index): Case => {
    const ackWaitMs = Math.round(LEAST_WAIT_MS + random() * (MOST_WAIT_MS - LEAST_WAIT_MS))
    return {
      run,
      host: name,
      client,
      native,
      name: `${name}${index}`,
      ackWaitMs,
      offset: 2 * random() - 1,
      counts,
    }
  })
  await inParallel([...cases.entries()], AT_ONCE, async ([index, one]) => {
    await prepare(one)
    await (index % 2 === 0 ? settleLate(one) : settleAround(one))
  })
  const { late, stale, around, settled, redelivered } = counts
  if (late === 0 || around === 0 || settled === 0)
    throw new Error(`${name}: nothing was checked: ${JSON.stringify(counts)}`)
  run.figure(
    `${name}: ${stale} of ${late} late ones stale, the other's delivery untouched; of ${around} at the deadline ` +
      `${around - redelivered} ok and delivered once, ${redelivered} stale and delivered again`,
  )
}

export const slowWorkerRow: Row = {
  number: 9,
  fault: 'two workers, the slow one settles late',
  shows: ['I5'],
  async run(run) {
    const nats = await startNats()
    run.defer(() => nats.stop())
    const native = await openNative(nats.wsUrl)
    run.defer(() => native.close())
    await native.ask(`STREAM.CREATE.${STREAM}`, { name: STREAM, subjects: ['work.>'], storage: 'file' })
    await Promise.all(run.hosts.map((name) => runOn(run, name, nats)))
  },
}
