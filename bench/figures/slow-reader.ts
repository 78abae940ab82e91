/** The figure of one slow reader among many: what it costs the others, and the host's memory. */

import type { HostName } from '../../scripts/host.ts'
import type { Figure, Measurement } from '../figure.ts'
import type { Pace } from '../options.ts'
import type { Stage } from '../stage.ts'
import { PAYLOAD_BYTES, prepareStream, sluicePath, sluiceSource } from './live.ts'
import { residentKiB } from './memory.ts'

const HEALTHY = 500
const PER_SECOND = 2_000
/**
 * The healthy readers share the stream ten ways: all of it to all of them would be a million deliveries a second, more
 * than two cores can write and read. The slow one reads all of it.
 */
const LANES = 10
const SLOW_BYTES_PER_SECOND = 65_536
const RUN_IN_MS = 1_000
const FIRST_RUN_IN_MS = 3_000

/** One after the other, on a host of its own: as many spans as there are rounds. */
const measureSpans = async (
  stage: Stage,
  pace: Pace,
  { name, withSlow }: { name: HostName; withSlow: boolean },
): Promise<Measurement[]> => {
  const stream = await prepareStream(stage, `slow_${name}_${withSlow ? 'with' : 'without'}`)
  const host = await stage.startFresh(name)
  const { readers, publisher, pids } = sluiceSource(stage, stream, {
    url: host.url,
    pid: host.pid,
    filtered: true,
  })
  const slow = { path: sluicePath(stream, false), bytesPerSecond: SLOW_BYTES_PER_SECOND }
  const measureMs = (withSlow ? pace.slowMs : pace.slowMs / 2) / pace.rounds
  const deliver = (spanMs: number, warmUpMs: number) => {
    const span = { warmUpMs, measureMs: spanMs, watchedPid: pids }
    return stage.http.ask('deliver', {
      publisher,
      bytes: PAYLOAD_BYTES,
      pace: { perSecond: PER_SECOND },
      span,
    })
  }
  try {
    const job = { ...readers, readers: HEALTHY, lanes: LANES }
    await stage.http.ask('openReaders', withSlow ? { ...job, slow } : job)
    // What the host still compiles would count as growth, and as latency.
    await deliver(pace.warmUpMs, FIRST_RUN_IN_MS)
    const spans: Measurement[] = []
    for (let round = 0; round < pace.rounds; round++) {
      const before = residentKiB(pids)
      const {
        p50Ms = 0,
        p99Ms = Number.NaN,
        messages,
        ms,
        cpuMs = Number.NaN,
      } = await deliver(measureMs, RUN_IN_MS)
      spans.push({
        value: p99Ms,
        p50Ms,
        cpuUs: (cpuMs * 1_000) / messages,
        facts: {
          'deliveries/s': (messages * 1_000) / ms,
          'memory growth, KiB/s': ((residentKiB(pids) - before) * 1_000) / (ms + RUN_IN_MS),
          ...(withSlow ? { 'messages behind': await stage.http.ask('slowLag', undefined) } : {}),
        },
      })
    }
    return spans
  } finally {
    await stage.http.ask('closeReaders', undefined)
    await host.crash()
  }
}

const figureOf = (stage: Stage, pace: Pace, name: HostName): Figure => {
  const contenderOf = (withSlow: boolean) => {
    let spans: Measurement[] = []
    return {
      name: withSlow ? 'with it' : 'without it',
      async warmUp() {
        spans = await measureSpans(stage, pace, { name, withSlow })
      },
      async measure() {
        const span = spans.shift()
        if (!span) throw new Error('no span is left')
        return span
      },
    }
  }
  const floors = [
    { of: 'ratio', most: 1.2 },
    { of: 'memory growth, KiB/s', most: FLAT_KIB_PER_SECOND },
  ]
  return {
    title: `a reader at 64 KiB/s beside ${HEALTHY}, ${PER_SECOND} messages/s, ${pace.slowMs / 1_000} s, ${name}`,
    unit: 'ms, p99 of the others',
    contenders: [contenderOf(false), { ...contenderOf(true), floors }],
  }
}

/** Less than a tenth of what the slow reader falls behind by: what its backlog would take if it were kept. */
const FLAT_KIB_PER_SECOND = 50

/** The slow reader has to stay for the whole time, so the spans of one contender follow on each other. */
export const slowReaderFigures = async (stage: Stage, pace: Pace): Promise<Figure[]> =>
  stage.hosts.map(({ name }) => figureOf(stage, pace, name))
