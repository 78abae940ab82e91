/** Row 13: networks that are slow, that reset, that are narrow, half-open or black holes, on both sides of the bridge. */
import { setTimeout as delay } from 'node:timers/promises'
import { type Stage, setStage } from '../load/stage.ts'
import { CREW } from '../load/workload.ts'
import type { TcpProxy, Weather } from '../proxy.ts'
import type { Row, RowRun } from '../row.ts'

/** A kind of weather, and how long it lasts in seconds: in a full run, and in a part of one. */
interface Spell {
  readonly name: string
  readonly weather: Weather
  readonly full: number
  readonly part: number
}

const SPELLS: readonly Spell[] = [
  { name: 'latency 200 ms ± 100', weather: { latencyMs: [100, 300] }, full: 12, part: 2 },
  { name: '1 % of pieces reset their connection', weather: { resets: 0.01 }, full: 12, part: 2 },
  { name: 'slices of 7 bytes', weather: { sliceBytes: 7 }, full: 6, part: 1 },
  { name: '64 kbit/s', weather: { bytesPerSecond: 8_000 }, full: 12, part: 0 },
  { name: 'blackhole', weather: { blackhole: true }, full: 30, part: 3 },
]
const HALF_OPEN_MS = 4_000

export const badNetworksRow: Row = {
  number: 13,
  fault: 'latency 200 ms ± 100, 1 % resets, slices, 64 kbit/s, half-open, 30 s blackhole, on both sides',
  shows: ['I1', 'I2', 'I3', 'I4', 'I5', 'I8', 'I9'],
  async run(run) {
    const stage = await setStage(run, {
      nodes: 1,
      proxied: true,
      mayBreak: true,
      crew: { ...CREW, pauseMs: 100 },
    })
    for (const spell of SPELLS) {
      await endure(run, stage, { spell, proxies: stage.natsProxies, where: 'between the bridge and NATS' })
      await stage.history.excusing(() =>
        endure(run, stage, { spell, proxies: stage.clientProxies, where: 'between clients and the bridge' }),
      )
    }
    for (const proxies of [stage.natsProxies, stage.clientProxies])
      await stage.history.excusing(() => halfOpen(run, stage, proxies))
    await stage.finish()
  },
}

interface Place {
  readonly spell: Spell
  readonly proxies: readonly TcpProxy[]
  readonly where: string
}

async function endure(run: RowRun, { goOn }: Stage, { spell, proxies, where }: Place): Promise<void> {
  const seconds = spell[run.pace]
  if (seconds === 0) return
  for (const proxy of proxies) proxy.setWeather(spell.weather)
  const connections = proxies.reduce((sum, proxy) => sum + proxy.open(), 0)
  run.injected(`${spell.name}, ${where}`, connections)
  await delay(seconds * 1_000)
  for (const proxy of proxies) proxy.setWeather({})
  await goOn()
}

/** One end closes, and the other is never told: then the way is good again, for new connections. */
async function halfOpen(run: RowRun, { goOn }: Stage, proxies: readonly TcpProxy[]): Promise<void> {
  for (const proxy of proxies) proxy.setWeather({ blackhole: true })
  run.injected(
    'connections half-open',
    proxies.reduce((sum, proxy) => sum + proxy.abandon(), 0),
  )
  await delay(run.pace === 'full' ? HALF_OPEN_MS : HALF_OPEN_MS / 4)
  for (const proxy of proxies) proxy.setWeather({})
  await goOn()
}
