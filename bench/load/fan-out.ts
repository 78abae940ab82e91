/** Owns the jobs of live reading: readers are opened, are delivered to for a span of time, and closed. */
import { setTimeout as delay } from 'node:timers/promises'
import { MARK, makeNumbered, writeNumber } from './payload.ts'
import { openPublisher, type Publisher, type PublisherJob } from './publishers.ts'
import { percentiles, type Rate, type Span, watchCpu } from './rate.ts'
import { drain, openAll, type Readers, type ReadersJob, slowProgress } from './readers.ts'

/**
 * `inFlight`: as fast as the readers get them, with so many messages under way; or `perSecond`, and then latencies are
 * told: from the publish to the reader's socket, by the clock of the one process that does both.
 */
export type DeliverJob = {
  publisher: PublisherJob
  bytes: number
  pace: { inFlight: number } | { perSecond: number }
  span: Span
}

let readers: Readers | undefined

const opened = (): Readers => {
  if (!readers) throw new Error('no reader is open')
  return readers
}

/** Answers how long it took, ms. */
export const openReaders = async (job: ReadersJob): Promise<number> => {
  closeReaders()
  const before = performance.now()
  readers = await openAll(job)
  return performance.now() - before
}

/** Also where none is open. */
export const closeReaders = (): void => {
  readers?.close()
  readers = undefined
}

const createSender = (group: Readers, publisher: Publisher, bytes: number) => {
  const payload = makeNumbered(bytes)
  const at = payload.indexOf(MARK)
  return () => {
    const number = group.sentAt.length
    writeNumber(payload, at, number)
    group.sentAt.push(performance.now())
    publisher.publish(number % group.lanes, payload)
  }
}

/** Tops up what is under way whenever something has come. Answers how to end it. */
const sendAsTaken = (group: Readers, send: () => void, inFlight: number): (() => void) => {
  group.progress = () => {
    let underWay = group.sentAt.length - group.delivered / group.copies
    for (; underWay < inFlight; underWay++) send()
  }
  group.progress()
  return () => {
    group.progress = () => {}
  }
}

const sendOnTime = (group: Readers, send: () => void, perSecond: number): (() => void) => {
  const began = performance.now()
  const first = group.sentAt.length
  const timer = setInterval(
    () => {
      const due = first + Math.floor(((performance.now() - began) * perSecond) / 1_000)
      while (group.sentAt.length < due) send()
    },
    Math.max(1, 1_000 / perSecond),
  )
  return () => clearInterval(timer)
}

/** Waits, and throws as soon as something is wrong. */
const watch = async (group: Readers, publisher: Publisher, ms: number) => {
  const deadline = performance.now() + ms
  for (let left = ms; left > 0; left = deadline - performance.now()) {
    await delay(Math.min(left, 250))
    const failure = group.failure ?? publisher.failure()
    if (failure) throw failure
  }
}

const count = async (group: Readers, publisher: Publisher, job: DeliverJob): Promise<Rate> => {
  await watch(group, publisher, job.span.warmUpMs)
  const usedCpu = watchCpu(job.span.watchedPid)
  const [before, delivered] = [performance.now(), group.delivered]
  group.latencies = 'perSecond' in job.pace ? [] : undefined
  await watch(group, publisher, job.span.measureMs)
  const ms = performance.now() - before
  const messages = group.delivered - delivered
  const latencies = group.latencies
  group.latencies = undefined
  if (messages === 0) throw new Error('nothing was delivered in the span that counts')
  return { messages, ms, ...usedCpu(), ...(latencies ? percentiles(latencies) : {}) }
}

/** Throws where a reader gets anything but each of its messages, once and in order. */
export const deliver = async (job: DeliverJob): Promise<Rate> => {
  const group = opened()
  const publisher = await openPublisher(job.publisher)
  const send = createSender(group, publisher, job.bytes)
  const none = job.publisher.kind === 'none'
  let stop = () => {}
  try {
    if (!none)
      stop =
        'inFlight' in job.pace
          ? sendAsTaken(group, send, job.pace.inFlight)
          : sendOnTime(group, send, job.pace.perSecond)
    const rate = await count(group, publisher, job)
    stop()
    if (!none) await drain(group)
    return rate
  } finally {
    stop()
    await publisher.close()
  }
}

/** How far the slow reader is behind, messages. */
export const slowLag = (): number => opened().sentAt.length - slowProgress(opened())
