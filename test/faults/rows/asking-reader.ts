/** A reader that asks for one answer after the other, pages or lines, and keeps what it was told in its order. */
import type { Client, Gap, Message, Page, Problem } from '../../contract/client.ts'
import { EventReader, type Wish } from '../../live/event-reader.ts'
import type { Native, State } from '../../live/native.ts'

export interface AskingWish extends Wish {
  readonly form: 'page' | 'ndjson'
  /** Of an answer. */
  readonly limit: number
}

type Line = Message & { readonly gap?: Gap; readonly error?: Problem; readonly up_to_date?: boolean }

export class AskingReader {
  readonly wish: AskingWish
  /** What it was told, as the oracle of live readers takes it; it opens nothing. */
  readonly record: EventReader
  /** How many gaps it could compare with the stream exactly. */
  compared = 0
  readonly #client: Client
  readonly #native: Native
  readonly #stream: string
  #cursor: string | undefined
  /** Where it stands, where that is known for sure. */
  #position: number | undefined

  constructor(
    { client, native, stream }: { client: Client; native: Native; stream: string },
    wish: AskingWish,
  ) {
    this.wish = wish
    this.#client = client
    this.#native = native
    this.#stream = stream
    this.record = new EventReader('', wish)
  }

  /** One answer. Resolves whether it was the end of the stream. */
  async ask(): Promise<boolean> {
    const before = await this.#state()
    const position = this.#position
    const told = this.record.seen.length
    const isEnd = this.wish.form === 'page' ? await this.#askPage() : await this.#askLines()
    const after = await this.#state()
    this.#compare(before, after, { position, told })
    return isEnd
  }

  get #query() {
    const { filters, onGap, limit } = this.wish
    const from = this.#cursor === undefined ? { start: 'beginning' } : { cursor: this.#cursor }
    return { subject: filters, on_gap: onGap, limit, ...from }
  }

  async #askPage(): Promise<boolean> {
    const path = `GET /v1/streams/${this.#stream}/messages`
    const { status, body } = await this.#client.send<Page & Problem>(path, { query: this.#query })
    if (status !== 200) return this.#refused(body)
    if (body.gap) this.#takeGap(body.gap)
    for (const message of body.messages) this.#take(message)
    this.#end(body.cursor, body.messages.length > 0 && !body.up_to_date)
    return body.up_to_date
  }

  async #askLines(): Promise<boolean> {
    const { response } = await this.#client.open(`GET /v1/streams/${this.#stream}/messages`, {
      query: this.#query,
      headers: { Accept: 'application/x-ndjson' },
    })
    if (!response.ok) return this.#refused((await response.json()) as Problem)
    const lines = (await response.text()).trimEnd().split('\n')
    for (const line of lines.map((text) => JSON.parse(text) as Line)) {
      if (line.error) return this.#refused(line.error)
      if (line.gap) this.#takeGap(line.gap)
      else if (line.seq !== undefined) this.#take(line)
      else {
        this.#end(line.cursor, lines.length > 1 && line.up_to_date === false)
        return line.up_to_date === true
      }
    }
    this.record.complaints.push('was given lines without an end')
    return true
  }

  #take(message: Message): void {
    this.#cursor = message.cursor
    this.record.seen.push({ kind: 'message', seq: message.seq, message })
  }

  #takeGap({ from_seq, to_seq }: Gap): void {
    if (this.wish.onGap === 'error')
      this.record.complaints.push('was told of a gap that it asked to be refused at')
    this.record.seen.push({ kind: 'gap', fromSeq: from_seq, seq: to_seq })
  }

  #end(cursor: string, endsAtMessage: boolean): void {
    this.#cursor = cursor
    this.#position = endsAtMessage && this.wish.filters.length === 0 ? this.record.position : undefined
  }

  #refused(problem: Problem): boolean {
    const { code, earliest_seq = 0, missed = 0, earliest_cursor } = problem
    if (code !== 'cursor_expired' || this.wish.onGap === 'skip')
      this.record.complaints.push(`was refused: ${JSON.stringify(problem)}`)
    else this.record.seen.push({ kind: 'gap', fromSeq: earliest_seq - missed, seq: earliest_seq - 1 })
    this.#cursor = earliest_cursor
    this.#position = earliest_seq - 1
    return false
  }

  async #state(): Promise<State> {
    return (await this.#native.ask<{ state: State }>(`STREAM.INFO.${this.#stream}`)).state
  }

  /** Where the stream's head stood still during an answer, it is known which gap there was to tell of in front of it. */
  #compare(
    before: State,
    after: State,
    { position, told }: { position: number | undefined; told: number },
  ): void {
    const [first, ...others] = this.record.seen.slice(told)
    for (const event of [first, ...others])
      if (event?.kind === 'gap' && event.seq >= after.first_seq)
        this.record.complaints.push(
          `was told that ${event.fromSeq}–${event.seq} are gone, but the stream begins at ${after.first_seq}`,
        )
    if (position === undefined || before.first_seq !== after.first_seq) return
    this.compared += 1
    const expected = before.first_seq > position + 1 ? `${position + 1}–${before.first_seq - 1}` : 'none'
    const got = first?.kind === 'gap' ? `${first.fromSeq}–${first.seq}` : 'none'
    if (got !== expected)
      this.record.complaints.push(
        `stood at ${position} and was told of the gap ${got} instead of ${expected}`,
      )
  }
}
