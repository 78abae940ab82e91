/** The proof of what a NATS user needs for each job: the listed permissions are enough, and none is to spare. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Client, createClient } from '../contract/client.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { NATS_LINES, startNats, type TestNats } from '../support/nats.ts'
import { CONSUMER, DIRECT_READS, JOBS, type Job } from './jobs.ts'
import { as, authorizationText, basic, type NatsUser } from './support.ts'
import { ADMIN } from './users.ts'

/** What comes of a missing permission: a refusal, or something that is waited for in vain. */
const MISSING = /"forbidden"|Not within/

/** One user doing one job, and which of its permissions it lacks. */
interface Attempt {
  readonly job: Job
  readonly without: string | undefined
  readonly user: NatsUser
  readonly stream: string
}

function attempt(job: Job, index: number, left?: number): Attempt {
  const stream = left === undefined ? `JOB${index}` : `JOB${index}_WITHOUT${left}`
  const publish = job.publish(stream)
  const user = {
    name: stream.toLowerCase(),
    password: 'worker-secret-4d2',
    publish: publish.filter((_, at) => at !== left),
    subscribe: ['_INBOX.>'],
  }
  return { job, without: left === undefined ? undefined : publish[left], user, stream }
}

const ENOUGH = JOBS.map((job, index) => attempt(job, index))
const TOO_LITTLE = JOBS.flatMap((job, index) => job.publish('X').map((_, left) => attempt(job, index, left)))

const PLACES = [
  ...HOSTS.map((host) => ({ host, version: 'current' as const })),
  ...HOSTS.filter((host) => host === 'node').flatMap((host) =>
    NATS_LINES.filter((version) => version !== 'current').map((version) => ({ host, version })),
  ),
]

describe.each(PLACES)('on $host with nats-server $version', ({ host: hostName, version }) => {
  const isCurrent = version === 'current'
  const served = ENOUGH.filter(({ job }) => isCurrent || !DIRECT_READS.has(job.name))
  const refused = isCurrent && hostName === HOSTS.at(-1) ? TOO_LITTLE : []
  /** What became of them: all are begun at once, and each is a test. */
  const outcomes = new Map<Attempt, Promise<unknown>>()
  let nats: TestNats
  let host: TestHost
  let bridge: Client

  beforeAll(async () => {
    const users = [ADMIN, ...[...ENOUGH, ...TOO_LITTLE].map(({ user }) => user)]
    nats = await startNats({ version, configText: authorizationText(users) })
    host = await startHost(hostName, { natsUrl: nats.wsUrl, env: { AUTH: 'nats', HEARTBEAT_MS: '500' } })
    bridge = await createClient(host.url)
    for (const one of [...served, ...refused]) {
      const outcome = carryOut(one)
      outcome.catch(() => undefined)
      outcomes.set(one, outcome)
    }
  })
  afterAll(async () => {
    await host.stop()
    await nats.stop()
  })

  const carryOut = async ({ job, user, stream }: Attempt): Promise<unknown> => {
    const admin = as(bridge, basic(ADMIN))
    const path = `/v1/streams/${stream}`
    const config = { name: stream, subjects: [`${stream}.>`], storage: 'memory', ...job.config }
    await admin.ok('POST /v1/streams', { json: config })
    await admin.ok(`PUT ${path}/consumers/${CONSUMER}`, { json: {} })
    for (const subject of ['a', 'b', 'a']) await admin.publish(`${stream}.${subject}`)
    return await job.run(as(bridge, basic(user)), {
      stream,
      path,
      admin,
      isCurrent,
      looksBehind: refused.length > 0,
    })
  }

  test.each(served.map((one) => [one.job.name, one] as const))(
    '%s: the listed permissions are enough',
    async (_, one) => {
      await outcomes.get(one)
    },
  )

  test.each(refused.map((one) => [one.job.name, one.without, one] as const))(
    '%s: refused without %s',
    async (_, __, one) => {
      await expect(outcomes.get(one)).rejects.toThrow(MISSING)
    },
  )
})
