/** The clock of a measurement: what clients do in parallel, counted within a span of time, and what it costs. */
import { readFileSync } from 'node:fs'

/**
 * Work goes on all the time; what is done in `measureMs`, after `warmUpMs`, counts. `watchedPid`: the process whose CPU
 * time is told beside, by default this one; or several that are one server.
 */
export type Span = { warmUpMs: number; measureMs: number; watchedPid?: Watched | undefined }

export type Watched = number | readonly number[]

/** What was done in `ms`. Latencies are those of single steps, where they mean something. */
export type Rate = { messages: number; ms: number; p50Ms?: number; p99Ms?: number; cpuMs?: number }

/** Does one thing and answers how many messages that was; 0 says that nothing is left to do. */
export type Step = () => Promise<number>

/** Linux counts CPU time in these. */
const TICK_MS = 10
/** In /proc/PID/stat, counted behind the name, which may hold anything. */
const USER_FIELD = 11
const SYSTEM_FIELD = 12

/** CPU time that a process has used, all its threads together; NaN where the system does not tell. */
const cpuMsOf = (pid: number): number => {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? []
    return (Number(fields[USER_FIELD]) + Number(fields[SYSTEM_FIELD])) * TICK_MS
  } catch {
    return Number.NaN
  }
}

/** Tells how much CPU time a server has used from now on. */
export const watchCpu = (watched: Watched = process.pid): (() => { cpuMs?: number }) => {
  const used = () => [watched].flat().reduce((sum, pid) => sum + cpuMsOf(pid), 0)
  const before = used()
  return () => {
    const cpuMs = used() - before
    return Number.isNaN(cpuMs) ? {} : { cpuMs }
  }
}

const percentile = (sorted: Float64Array, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0

/** The middle and the worst of latencies. */
export const percentiles = (latencies: readonly number[]): { p50Ms: number; p99Ms: number } => {
  const sorted = Float64Array.from(latencies).sort()
  return { p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) }
}

/** Counts what is done between begin and end. */
const createTally = (begin: number) => {
  const latencies: number[] = []
  let messages = 0
  return {
    count: (done: number, from: number, now: number, end: number) => {
      if (now <= begin || now > end) return
      messages += done
      latencies.push(now - from)
    },
    rate: (end: number): Rate => {
      const ms = end - begin
      if (ms <= 0 || messages === 0) throw new Error('nothing was done in the span that counts')
      return { messages, ms, ...percentiles(latencies) }
    },
  }
}

/** Runs one loop per step until the span is over. Throws what a step throws, and when nothing was done at all. */
export const measureRate = async (steps: readonly Step[], span: Span): Promise<Rate> => {
  const begin = performance.now() + span.warmUpMs
  let end = begin + span.measureMs
  const tally = createTally(begin)
  let usedCpu = watchCpu(span.watchedPid)
  let counts = false
  // By whatever is first: a client that is busy reading hears of no timer.
  const beginToCount = () => {
    if (counts) return
    counts = true
    usedCpu = watchCpu(span.watchedPid)
  }
  const begun = setTimeout(beginToCount, span.warmUpMs)

  const loop = async (step: Step): Promise<void> => {
    let before = performance.now()
    while (before < end) {
      const done = await step()
      const now = performance.now()
      if (done === 0) end = Math.min(end, now)
      if (now > begin) beginToCount()
      tally.count(done, before, now, end)
      before = now
    }
  }
  try {
    await Promise.all(steps.map(loop))
    return { ...tally.rate(end), ...usedCpu() }
  } finally {
    clearTimeout(begun)
  }
}

/** Counts what comes in no steps. `isOver`: what comes from now on counts no more. */
export type Counter = { count: (messages: number) => void; isOver: () => boolean; rate: () => Rate }

/** Counts from one arrival to another: the first after the warm-up, and the first after the span. */
export const createCounter = ({ warmUpMs, measureMs, watchedPid }: Span): Counter => {
  const begin = performance.now() + warmUpMs
  let came = 0
  let counted: { from: number; before: number; usedCpu: ReturnType<typeof watchCpu> } | undefined
  let rate: Rate | undefined
  return {
    count(messages) {
      const now = performance.now()
      came += messages
      if (rate || now < begin) return
      counted ??= { from: now, before: came, usedCpu: watchCpu(watchedPid) }
      const ms = now - counted.from
      if (ms >= measureMs) rate = { messages: came - counted.before, ms, ...counted.usedCpu() }
    },
    isOver: () => rate !== undefined,
    rate() {
      if (!rate) throw new Error('nothing more came before the span was over')
      return rate
    },
  }
}

/** `count` things that are made at the same time. */
export const times = async <Made>(count: number, make: (index: number) => Promise<Made>): Promise<Made[]> =>
  await Promise.all(Array.from({ length: count }, (_, index) => make(index)))
