/** What a faults run plays on: a nats-server or three, a stream, and the hosts with their clients. */

import { collectGarbage } from '../../../scripts/inspector.ts'
import { freePort } from '../../../scripts/ports.ts'
import { range, until } from '../../contract/expectations.ts'
import { openNative } from '../../live/native.ts'
import { inStep } from '../../publishing/leader.ts'
import { type HostName, newTokenKey, startHost, type TestHost } from '../../support/host.ts'
import { startCluster, startNats, type TestCluster, type TestNats } from '../../support/nats.ts'
import { startProxy, type TcpProxy } from '../proxy.ts'
import type { RowRun } from '../row.ts'
import type { Deadlines, Site } from './actor.ts'
import { check } from './checker.ts'
import { History } from './history.ts'
import { lastSeqFor, readConsumer, readTruth, type Truth } from './truth.ts'
import { CREW, type Crew, Workload } from './workload.ts'

export const STREAM = 'ORDERS'
export const CONSUMER = 'work'
const ACK_WAIT_MS = 5_000
const DRAIN_MS = 60_000
const AT_PORT_MS = 20_000

const CONNECT_TIMEOUT_MS = 1_000
const REQUEST_TIMEOUT_MS = 2_000
const PUBLISH_DEADLINE_MS = 15_000
export const HEARTBEAT_MS = 1_000
/** When JetStream has removed the consumer of a feed whose bridge or connection was lost: after 10 s, a cluster some later. */
const REMOVED_MS = 45_000
/** What a busy machine with two cores adds to anything. */
const SLACK_MS = 4_000
/** JetStream requests that one request to the bridge makes one after the other at most, a dial before the first. */
const STEPS = 5

const DIAL_MS = 3 * CONNECT_TIMEOUT_MS
const DEADLINES: Deadlines = {
  keyedPublishMs: PUBLISH_DEADLINE_MS + REQUEST_TIMEOUT_MS + DIAL_MS + SLACK_MS,
  publishMs: REQUEST_TIMEOUT_MS + DIAL_MS + SLACK_MS,
  requestMs: STEPS * REQUEST_TIMEOUT_MS + DIAL_MS + SLACK_MS,
}

export interface StageOptions {
  readonly nodes: 1 | 3
  readonly crew?: Crew
  /** Instances of the bridge on each host. */
  readonly instances?: number
  /** Puts a proxy between the bridge and NATS, and between the clients and the bridge. */
  readonly proxied?: boolean
  /** Whether connections to the bridge may break. */
  readonly mayBreak?: boolean
  readonly configText?: string
  /** Whether what each host has in use of its heap can be asked for. */
  readonly inspected?: boolean
}

interface Setup {
  readonly natsUrl: string
  readonly tokenKeys: string
  readonly inspectorPort?: number
}

/** An instance of the bridge, at the same address over a crash. */
export class Instance {
  readonly name: HostName
  readonly #setup: Setup
  #host: TestHost

  private constructor(host: TestHost, setup: Setup) {
    this.name = host.name
    this.#host = host
    this.#setup = setup
  }

  static async start(name: HostName, setup: Setup): Promise<Instance> {
    return new Instance(await Instance.#start(name, setup, 0), setup)
  }

  static #start(
    name: HostName,
    { natsUrl, tokenKeys, inspectorPort }: Setup,
    port: number,
  ): Promise<TestHost> {
    const env = {
      TOKEN_KEYS: tokenKeys,
      CONNECT_TIMEOUT_MS: String(CONNECT_TIMEOUT_MS),
      REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS),
      PUBLISH_DEADLINE_MS: String(PUBLISH_DEADLINE_MS),
      HEARTBEAT_MS: String(HEARTBEAT_MS),
    }
    return startHost(name, { natsUrl, env, port, inspectorPort })
  }

  get url(): string {
    return this.#host.url
  }

  get pid(): number {
    return this.#host.pid
  }

  /** Has the host collect its garbage. Answers what is in use then, bytes; only where the stage is `inspected`. */
  async memoryInUse(): Promise<number> {
    if (this.#setup.inspectorPort === undefined) throw new Error(`${this.name} cannot be inspected.`)
    return await collectGarbage(this.#setup.inspectorPort)
  }

  /** SIGKILL, and the same again. */
  async restart(): Promise<void> {
    const port = Number(new URL(this.#host.url).port)
    await this.#host.crash()
    const again = () => Instance.#start(this.name, this.#setup, port).catch(() => undefined)
    this.#host = await until('the bridge starts again', again, AT_PORT_MS)
  }

  async stop(): Promise<void> {
    await this.#host.stop()
  }
}

/** Whoever sets it runs `finish`, and what is started ends with the row. */
export interface Stage {
  readonly nodes: readonly TestNats[]
  /** Where there are three. */
  readonly cluster: TestCluster | undefined
  readonly workloads: readonly Workload[]
  readonly instances: readonly Instance[]
  readonly history: History
  /** Between the bridges and NATS, one for each node; between clients and bridges, one for each instance. */
  readonly natsProxies: readonly TcpProxy[]
  readonly clientProxies: readonly TcpProxy[]
  /** Resolves once every host stores again. */
  goOn(more?: number): Promise<void>
  /** The faults are over: all comes to rest, and is checked. Answers what the stream really has. */
  finish(): Promise<Truth>
}

const portOf = (url: string): number => Number(new URL(url).port)

async function startNodes(run: RowRun, { nodes, configText }: StageOptions) {
  const options = configText === undefined ? {} : { configText }
  if (nodes === 1) {
    const nats = await startNats(options)
    run.defer(() => nats.stop())
    return { nodes: [nats], cluster: undefined }
  }
  const cluster = await startCluster(nodes, options)
  run.defer(() => cluster.stop())
  return { nodes: cluster.nodes, cluster }
}

async function proxiesTo(run: RowRun, urls: readonly string[], purpose: string): Promise<TcpProxy[]> {
  return await Promise.all(
    urls.map(async (url, index) => {
      const proxy = await startProxy(portOf(url), run.random(`${purpose} ${index}`))
      run.defer(() => proxy.close())
      return proxy
    }),
  )
}

/** Starts all of it; the clients are at work when it resolves. */
export async function setStage(run: RowRun, options: StageOptions): Promise<Stage> {
  const { nodes, cluster } = await startNodes(run, options)
  const proxied = options.proxied === true
  const natsUrls = nodes.map(({ wsUrl }) => wsUrl)
  const natsProxies = proxied ? await proxiesTo(run, natsUrls, 'nats') : []
  const natsUrl = (proxied ? natsProxies.map(({ port }) => `ws://127.0.0.1:${port}`) : natsUrls).join(',')
  await makeStream(natsUrls[0] ?? '', options.nodes)

  const tokenKeys = newTokenKey()
  const names = run.hosts.flatMap((name) => range(1, options.instances ?? 1).map(() => name))
  const instances = await Promise.all(
    names.map(async (name) => {
      const setup = { natsUrl, tokenKeys }
      return Instance.start(name, options.inspected ? { ...setup, inspectorPort: await freePort() } : setup)
    }),
  )
  for (const instance of instances) run.defer(() => instance.stop())
  const clientProxies = proxied
    ? await proxiesTo(
        run,
        instances.map(({ url }) => url),
        'clients',
      )
    : []
  const urlOf = (instance: Instance) => {
    const proxy = clientProxies[instances.indexOf(instance)]
    return proxy ? `http://127.0.0.1:${proxy.port}` : instance.url
  }

  const history = new History()
  const workloads = run.hosts.map((name) => {
    const own = instances.filter((instance) => instance.name === name)
    const pick = run.random(`instance of ${name}`)
    const site: Site = {
      host: name,
      history,
      stream: STREAM,
      consumer: CONSUMER,
      url: () => urlOf(own[Math.floor(pick() * own.length)] as Instance),
      deadlines: DEADLINES,
      random: (purpose) => run.random(`${name} ${purpose}`),
    }
    return new Workload(site, options.crew ?? CREW)
  })
  for (const workload of workloads) run.defer(() => workload.end())

  const stage = { nodes, cluster, workloads, instances, history, natsProxies, clientProxies }
  const goOn = async (more = 10) => {
    await Promise.all(workloads.map((workload) => workload.goesOn(more)))
  }
  await goOn()
  return { ...stage, goOn, finish: () => finish(run, stage, options) }
}

/** Past the bridge and any proxy, so that what is looked at is there whatever they do. */
async function makeStream(wsUrl: string, replicas: number): Promise<void> {
  const native = await openNative(wsUrl)
  try {
    await native.ask(`STREAM.CREATE.${STREAM}`, {
      name: STREAM,
      subjects: [`${STREAM.toLowerCase()}.>`],
      storage: 'file',
      num_replicas: replicas,
      allow_direct: true,
      duplicate_window: 600_000_000_000,
    })
    await native.ask(`CONSUMER.DURABLE.CREATE.${STREAM}.${CONSUMER}`, {
      stream_name: STREAM,
      config: {
        durable_name: CONSUMER,
        ack_policy: 'explicit',
        ack_wait: ACK_WAIT_MS * 1_000_000,
        max_ack_pending: 10_000,
      },
    })
  } finally {
    await native.close()
  }
}

type Parts = Omit<Stage, 'goOn' | 'finish'>

async function finish(run: RowRun, stage: Parts, options: StageOptions): Promise<Truth> {
  const { nodes, cluster, workloads, history } = stage
  await Promise.all(workloads.map((workload) => workload.stopPublishing()))
  if (cluster) await inStep(cluster, STREAM)
  const natsUrl = nodes[0]?.wsUrl ?? ''
  const truth = await readTruth(natsUrl, STREAM)
  const late = await Promise.all(
    workloads.map((workload) => workload.comeToRest((filter) => lastSeqFor(truth, filter))),
  )
  for (const what of late.flat()) run.broken('I2', what)
  await drained(natsUrl).catch((err: Error) => run.broken('I5', err.message))
  await Promise.all(workloads.map((workload) => workload.end()))

  const breaches = check({
    truth,
    fates: workloads.flatMap(({ fates }) => fates),
    readers: workloads.flatMap(({ readers }) => readers),
    handed: workloads.flatMap(({ workers }) => workers.flatMap(({ handed }) => handed)),
    exchanges: history.exchanges.filter((exchange) => !history.isExcused(exchange)),
    mayBreak: options.mayBreak === true,
  })
  for (const { invariant, what } of breaches) run.broken(invariant, what)
  if (truth.size === 0) throw new Error('Nothing was stored, and so nothing was checked.')
  await nothingLeft(run, stage)
  tell(run, stage, truth)
  return truth
}

async function drained(natsUrl: string): Promise<void> {
  await until(
    'the consumer has nothing pending',
    async () => {
      const { num_pending, num_ack_pending } = await readConsumer(natsUrl, STREAM, CONSUMER)
      return num_pending === 0 && num_ack_pending === 0
    },
    DRAIN_MS,
  )
}

interface StreamConsumers {
  readonly state: { readonly consumer_count: number }
}

/** I8: of the clients that are gone, nothing is left at NATS but the durable consumer. */
async function nothingLeft(run: RowRun, { nodes }: Parts): Promise<void> {
  const native = await openNative(nodes[0]?.wsUrl ?? '')
  try {
    let left = 0
    await until(
      'only the durable consumer is left',
      async () => {
        const { state } = await native.ask<StreamConsumers>(`STREAM.INFO.${STREAM}`)
        left = state.consumer_count
        return left === 1
      },
      REMOVED_MS,
    ).catch(() => run.broken('I8', `${left} consumers are left, not 1`))
  } finally {
    await native.close()
  }
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`

function tell(run: RowRun, { workloads, history }: Parts, truth: Truth): void {
  const isPublish = (keyed: boolean) => (exchange: { actor: string; request: string }) =>
    exchange.request.startsWith('POST /v1/subjects') && exchange.actor.includes('-keyed-') === keyed
  const confirmed = workloads.reduce((sum, { stored }) => sum + stored, 0)
  const seen = workloads
    .flatMap(({ readers }) => readers)
    .reduce((sum, reader) => sum + reader.seen.length, 0)
  const workers = workloads.flatMap((workload) => workload.workers)
  const handed = workers.flatMap((worker) => worker.handed)
  const again = handed.filter(({ seq, at }) =>
    workers.some(({ confirmed: acked }) => (acked.get(seq) ?? at) < at),
  )
  run.figure(
    `${confirmed} publishes confirmed, ${truth.size} stored, ${seen} read, ${handed.length} handed out ` +
      `(${again.length} of them after a confirmed ack)`,
  )
  run.figure(
    `longest publish ${seconds(history.longest(isPublish(true)))} with a key, ` +
      `${seconds(history.longest(isPublish(false)))} without`,
  )
}
