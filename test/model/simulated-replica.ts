/** What one replica of a simulated stream answers, which may be behind its leader. */
import type { Batch, BatchRequest, LastPerSubjectRequest, StoredMessage } from '../../src/jetstream.ts'
import { covers } from '../live/filters.ts'
import type { Network } from './network.ts'
import type { SimulatedStream, Stored } from './simulated-stream.ts'
import type { VirtualClock } from './virtual-clock.ts'

interface ReplicaParts {
  readonly clock: VirtualClock
  readonly network: Network
  /** Operations that there have been. */
  ops(): number
}

/** How often what a batch is read from changes while it is read. */
const SLOW_SHARE = 0.3

/** One of them, drawn anew for each call. */
export class SimulatedReplica {
  readonly #stream: SimulatedStream
  readonly #parts: ReplicaParts

  constructor(stream: SimulatedStream, parts: ReplicaParts) {
    this.#stream = stream
    this.#parts = parts
  }

  /** Not read at one moment: what is there may change in the middle. What is pending was counted at the beginning. */
  async readBatch(request: BatchRequest): Promise<Batch> {
    const op = this.#knownOp()
    const first = this.#stream.match(request, this.#stream.asOf(op))
    const fitting = this.#stream.fitting(request, first)
    const { network, clock } = this.#parts
    if (fitting < 2 || !network.chance(SLOW_SHARE)) return batchOf(first.slice(0, fitting), first.length)
    const before = first.slice(0, 1 + network.below(fitting - 1))
    await clock.delay(1 + network.below(2))
    const now = this.#stream.asOf(Math.max(op, this.#knownOp()))
    const [after, upTo] = [before.at(-1)?.seq ?? 0, first[fitting - 1]?.seq ?? 0]
    const isLater = ({ seq, subject }: Stored) =>
      seq > after && seq <= upTo && covers(request.filter ?? '>', subject)
    return batchOf([...before, ...now.filter(isLater)], first.length)
  }

  lastPerSubject(request: LastPerSubjectRequest): Batch {
    const { filters, fromSeq, upToSeq } = request
    const lasts = new Map<string, Stored>()
    for (const stored of this.#stream.asOf(this.#knownOp()))
      if (stored.seq <= upToSeq && filters.some((filter) => covers(filter, stored.subject)))
        lasts.set(stored.subject, stored)
    const found = [...lasts.values()].filter(({ seq }) => seq >= fromSeq).sort((a, b) => a.seq - b.seq)
    return batchOf(found.slice(0, this.#stream.fitting(request, found)), found.length)
  }

  #knownOp(): number {
    const { ops, network } = this.#parts
    return ops() - network.below(network.faults.lag + 1)
  }
}

const batchOf = (messages: readonly Stored[], known: number): Batch => ({
  messages: messages.map(strip),
  numPending: Math.max(0, known - messages.length),
})

/** A message without what became of it. */
export const strip = ({ subject, seq, time, headers, payload }: Stored): StoredMessage => ({
  subject,
  seq,
  time,
  headers,
  payload,
})
