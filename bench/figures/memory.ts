/** The figure of idle readers: what each keeps of its host's memory. */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { HostName } from '../../scripts/host.ts'
import { collectGarbage } from '../../scripts/inspector.ts'
import { freePort } from '../../scripts/ports.ts'
import type { Contender, Figure, Floor, Measurement } from '../figure.ts'
import type { Pace } from '../options.ts'
import type { Stage } from '../stage.ts'
import { nchanSource, prepareStream, type Source, sluiceSource } from './live.ts'

/** Before the first look: what a host makes once is not a reader's. */
const FIRST_READERS = 200
const SETTLE_MS = 3_000
const FLOORS: Record<HostName, Floor> = {
  node: { of: 'value', most: 20 },
  workerd: { of: 'value', most: 64 },
}

/** Resident memory of a server's processes, KiB. */
export const residentKiB = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    return sum + Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1])
  }, 0)

type Collect = () => Promise<unknown>

/** Resident memory of `readers` that a collection does not free: with them, and without them. */
const collected = async (
  stage: Stage,
  pids: readonly number[],
  { readers, collect }: { readers: number; collect: Collect },
) => {
  const look = async () => {
    await collect()
    await delay(SETTLE_MS / 2)
    return residentKiB(pids)
  }
  const withThem = await look()
  await stage.http.ask('closeReaders', undefined)
  await delay(SETTLE_MS / 2)
  return (withThem - (await look())) / readers
}

const measureReaders = async (
  stage: Stage,
  { pids, readers: where }: Source,
  { readers, collect }: { readers: number; collect?: Collect | undefined },
): Promise<Measurement> => {
  const open = (count: number) => stage.http.ask('openReaders', { ...where, readers: count, lanes: 1 })
  try {
    await open(FIRST_READERS)
    await stage.http.ask('closeReaders', undefined)
    await delay(SETTLE_MS / 2)
    const before = residentKiB(pids)
    await open(readers)
    await delay(SETTLE_MS)
    const value = (residentKiB(pids) - before) / readers
    if (!collect) return { value }
    return {
      value,
      facts: { 'KiB between forced collections': await collected(stage, pids, { readers, collect }) },
    }
  } finally {
    await stage.http.ask('closeReaders', undefined)
  }
}

const measureHost = async (stage: Stage, name: HostName, readers: number): Promise<Measurement> => {
  const stream = await prepareStream(stage, 'memory')
  const port = await freePort()
  // workerd collects as it takes its next request, and here there is none.
  const host = await stage.startFresh(name, name === 'node' ? port : undefined)
  const collect = name === 'node' ? () => collectGarbage(port) : undefined
  try {
    const source = sluiceSource(stage, stream, { url: host.url, pid: host.pid })
    return await measureReaders(stage, source, { readers, collect })
  } finally {
    await host.crash()
  }
}

const measureNchan = async (stage: Stage, readers: number): Promise<Measurement> => {
  const nchan = await stage.startFreshNchan()
  try {
    return await measureReaders(stage, nchanSource(nchan), { readers })
  } finally {
    await nchan.stop()
  }
}

/** Each measurement is of a process of its own, since memory that was given up is seldom given back. */
export const memoryFigures = async (stage: Stage, pace: Pace): Promise<Figure[]> => {
  const readers = pace.idleReaders
  const contenders: Contender[] = [
    { name: 'nchan', warmUp: () => stage.peers.nchan(), measure: () => measureNchan(stage, readers) },
    ...stage.hosts.map(({ name }) => ({
      name,
      warmUp: async () => {},
      measure: () => measureHost(stage, name, readers),
      floors: [FLOORS[name]],
    })),
  ]
  const title = `memory of an idle SSE reader, ${readers.toLocaleString('en-US')} of them`
  return [{ title, unit: 'KiB of resident memory', contenders }]
}
