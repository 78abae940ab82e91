/** The clients that publish: one message after the other, with keys or without, or many lines at once. */
import { setTimeout as delay } from 'node:timers/promises'
import { RETRY_MS, type Site } from './actor.ts'
import { type Answered, outcomeOf, reasonOf, succeeded } from './history.ts'

/** What a publisher was told of a payload, which is never published for two messages. */
export interface Fate {
  readonly payload: string
  readonly subject: string
  readonly isKeyed: boolean
  /** Where it is stored, by the word of the bridge; undefined: it was not told. */
  readonly seq: number | undefined
  /** Whether each failure said that nothing was stored. */
  readonly isDenied: boolean
}

export interface Publisher {
  readonly fates: Fate[]
  step(): Promise<void>
}

const GIVE_UP_MS = 60_000

/** One message after the other; with a key until it is stored. */
export class SinglePublisher implements Publisher {
  readonly fates: Fate[] = []
  readonly #site: Site
  readonly #name: string
  readonly #isKeyed: boolean
  #count = 0

  constructor(site: Site, name: string, isKeyed: boolean) {
    this.#site = site
    this.#name = name
    this.#isKeyed = isKeyed
  }

  async step(): Promise<void> {
    const payload = `${this.#name} ${++this.#count}`
    const subject = `${this.#site.stream.toLowerCase()}.${this.#name}`
    const giveUpAt = performance.now() + GIVE_UP_MS
    for (let isDenied = true; ; ) {
      const { outcome, body } = await this.#publish(subject, payload)
      const isStored = succeeded(outcome) && typeof body.seq === 'number'
      isDenied &&= body.side_effects === 'none'
      if (isStored || !this.#isKeyed || performance.now() > giveUpAt) {
        const seq = isStored ? Number(body.seq) : undefined
        this.fates.push({ payload, subject, isKeyed: this.#isKeyed, seq, isDenied })
        if (!isStored) await delay(RETRY_MS)
        return
      }
      await delay(RETRY_MS)
    }
  }

  #publish(subject: string, payload: string): Promise<Answered> {
    const { history, deadlines, url } = this.#site
    const headers: Record<string, string> = { 'Content-Type': 'text/plain' }
    if (this.#isKeyed) headers['Idempotency-Key'] = payload
    return history.ask({
      actor: this.#name,
      url: `${url()}/v1/subjects/${subject}/messages`,
      init: { method: 'POST', headers, body: payload },
      deadlineMs: this.#isKeyed ? deadlines.keyedPublishMs : deadlines.publishMs,
    })
  }
}

interface LineResult {
  readonly index?: number
  readonly seq?: number
}

/** Many lines at once, each with an id; what has no result is sent again. */
export class LinesPublisher implements Publisher {
  readonly fates: Fate[] = []
  readonly #site: Site
  readonly #name: string
  readonly #lines: number
  #count = 0

  constructor(site: Site, name: string, lines: number) {
    this.#site = site
    this.#name = name
    this.#lines = lines
  }

  async step(): Promise<void> {
    const subject = `${this.#site.stream.toLowerCase()}.${this.#name}`
    let left = Array.from({ length: this.#lines }, () => `${this.#name} ${++this.#count}`)
    const giveUpAt = performance.now() + GIVE_UP_MS
    while (left.length > 0 && performance.now() < giveUpAt) {
      const stored = await this.#send(subject, left)
      for (const [index, seq] of stored)
        this.fates.push({ payload: left[index] ?? '', subject, isKeyed: true, seq, isDenied: false })
      left = left.filter((_, index) => !stored.has(index))
      if (left.length > 0) await delay(RETRY_MS)
    }
    for (const payload of left)
      this.fates.push({ payload, subject, isKeyed: true, seq: undefined, isDenied: false })
  }

  /** Answers the sequences of what has been stored, by its place in `payloads`. */
  async #send(subject: string, payloads: readonly string[]): Promise<ReadonlyMap<number, number>> {
    const { history, deadlines, url } = this.#site
    const deadlineMs = deadlines.keyedPublishMs
    const beganAt = performance.now()
    const results: LineResult[] = []
    const body = payloads.map((data) => `${JSON.stringify({ subject, data, id: data })}\n`).join('')
    const outcome = await fetch(`${url()}/v1/messages`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-ndjson' },
      body,
      signal: AbortSignal.timeout(2 * deadlineMs),
    })
      .then(async (response) => {
        if (!response.ok) return await outcomeOf(response)
        await readLines(response, results)
        return { status: response.status, code: undefined }
      })
      .catch((err: unknown) => ({ broken: reasonOf(err) }))
    const endedAt = performance.now()
    history.exchanges.push({
      actor: this.#name,
      request: 'POST /v1/messages',
      beganAt,
      endedAt,
      deadlineMs,
      outcome,
    })
    return new Map(
      results.flatMap(({ index, seq }) => (index === undefined || seq === undefined ? [] : [[index, seq]])),
    )
  }
}

/** Adds each line that has come whole, also where the connection breaks later. */
async function readLines({ body }: Response, results: LineResult[]): Promise<void> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const piece of body ?? []) {
    const lines = (text + decoder.decode(piece, { stream: true })).split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) if (line.trim() !== '') results.push(JSON.parse(line) as LineResult)
  }
}
