/** All the clients of one host: they publish, read and work, and come to rest when the faults are over. */
import { range, until } from '../../contract/expectations.ts'
import { Loop, type Site } from './actor.ts'
import { LinesPublisher, type Publisher, SinglePublisher } from './publishers.ts'
import { EventsReader, endReaders, PageReader, positionOf, type Reader } from './readers.ts'
import { Worker } from './workers.ts'

/** How many there are of each, and how long they rest between two requests, ms. */
export interface Crew {
  readonly keyed: number
  readonly unkeyed: number
  readonly lines: number
  readonly pages: number
  readonly events: number
  readonly workers: number
  readonly pauseMs: number
}

export const CREW: Crew = { keyed: 3, unkeyed: 2, lines: 1, pages: 2, events: 3, workers: 2, pauseMs: 20 }

/** Lines of one request. */
const LINES = 40
const SETTLE_MS = 60_000

const loopsOf = <Client extends { step(): Promise<void> }>(
  clients: readonly Client[],
  pauseMs: number,
): (readonly [Client, Loop])[] =>
  clients.map((client) => [client, new Loop(() => client.step(), pauseMs)] as const)

/** Whoever starts it brings it to rest. */
export class Workload {
  readonly site: Site
  readonly publishers: readonly Publisher[]
  readonly pageReaders: readonly PageReader[]
  readonly eventReaders: readonly EventsReader[]
  readonly workers: readonly Worker[]
  readonly #publishing: readonly (readonly [Publisher, Loop])[]
  readonly #reading: readonly (readonly [Reader, Loop])[]
  readonly #working: readonly (readonly [Worker, Loop])[]

  constructor(site: Site, crew: Crew = CREW) {
    this.site = site
    const name = (kind: string, n: number) => `${site.host}-${kind}-${n}`
    /** Every other reader wants one publisher's messages alone. */
    const wish = (kind: string, n: number) => ({
      name: name(kind, n),
      ...(n % 2 === 0 ? { filter: `${site.stream.toLowerCase()}.${name('keyed', 1)}` } : {}),
    })
    const singles = (kind: string, count: number, isKeyed: boolean) =>
      range(1, count).map((n) => new SinglePublisher(site, name(kind, n), isKeyed))
    this.publishers = [
      ...singles('keyed', crew.keyed, true),
      ...singles('unkeyed', crew.unkeyed, false),
      ...range(1, crew.lines).map((n) => new LinesPublisher(site, name('lines', n), LINES)),
    ]
    this.pageReaders = range(1, crew.pages).map((n) => new PageReader(site, wish('pages', n)))
    this.eventReaders = range(1, crew.events).map((n) => new EventsReader(site, wish('events', n)))
    this.workers = range(1, crew.workers).map((n) => new Worker(site, name('worker', n)))
    this.#publishing = loopsOf(this.publishers, crew.pauseMs)
    this.#reading = loopsOf<Reader>(this.readers, crew.pauseMs)
    this.#working = loopsOf(this.workers, crew.pauseMs)
  }

  get readers(): readonly Reader[] {
    return [...this.pageReaders, ...this.eventReaders]
  }

  get fates() {
    return this.publishers.flatMap(({ fates }) => fates)
  }

  get stored(): number {
    return this.fates.filter(({ seq }) => seq !== undefined).length
  }

  /** Resolves once more has been stored, whatever happens meanwhile. */
  async goesOn(more = 10): Promise<void> {
    const before = this.stored
    await until(`${this.site.host} stores again`, async () => this.stored >= before + more, SETTLE_MS)
  }

  /** No more is published; each publish under way comes to its end. */
  async stopPublishing(): Promise<void> {
    await Promise.all(this.#publishing.map(([, loop]) => loop.end()))
    for (const worker of this.workers) worker.isDiligent = true
  }

  /** Ends all clients once each reader is at the last message that is for it. Names those that never come there. */
  async comeToRest(lastSeqFor: (filter: string | undefined) => number): Promise<string[]> {
    const late = await Promise.all(
      this.readers.map((reader) =>
        until(reader.name, async () => positionOf(reader) >= lastSeqFor(reader.filter), SETTLE_MS).then(
          () => [],
          () => [
            `${reader.name} stands at ${positionOf(reader)} and never came to ${lastSeqFor(reader.filter)}`,
          ],
        ),
      ),
    )
    return late.flat()
  }

  async end(): Promise<void> {
    await Promise.all([
      endReaders(this.#reading),
      ...[...this.#publishing, ...this.#working].map(([, loop]) => loop.end()),
    ])
  }
}
