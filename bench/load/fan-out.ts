/** The jobs of live reading: readers are opened, are delivered to for a span of time, and closed. */
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

/** What came within the span; from then on the messages that are sent are timed. */
const count = async (group: Readers, publisher: Publisher, job: DeliverJob): Promise<Rate> => {
  await watch(group, publisher, job.span.warmUpMs)
  const usedCpu = watchCpu(job.span.watchedPid)
  const [before, delivered] = [performance.now(), group.delivered]
  group.latencies = []
  group.timedFrom = 'perSecond' in job.pace ? group.sentAt.length : Number.POSITIVE_INFINITY
  await watch(group, publisher, job.span.measureMs)
  return { messages: group.delivered - delivered, ms: performance.now() - before, ...usedCpu() }
}

/**
 * Latencies are those of all messages that were sent in the span, however late they came.
 * Throws where a reader gets anything but each of its messages, once and in order.
 */
export const deliver = async (job: DeliverJob): Promise<Rate> => {
  const { publisher: who, pace, bytes } = job
  const group = opened()
  const publisher = await openPublisher(who)
  const send = createSender(group, publisher, bytes)
  let stop = () => {}
  try {
    if (who.kind !== 'none') {
      stop =
        'inFlight' in pace ? sendAsTaken(group, send, pace.inFlight) : sendOnTime(group, send, pace.perSecond)
    }
    const rate = await count(group, publisher, job)
    stop()
    if (who.kind !== 'none') await drain(group)
    return { ...rate, ...('perSecond' in pace ? percentiles(group.latencies) : {}) }
  } finally {
    stop()
    await publisher.close()
  }
}

/** How far the slow reader is behind, messages. */
export const slowLag = (): number => opened().sentAt.length - slowProgress(opened())
