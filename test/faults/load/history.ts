/** The history of a faults run: every request that was made, and what became of it. */

/** What came of a request: an answer with the `code` of its problem, or none. */
export type Outcome =
  | { readonly status: number; readonly code: string | undefined }
  | { readonly broken: string }

export interface Exchange {
  readonly actor: string
  readonly request: string
  /** Milliseconds of one clock that never goes back. */
  readonly beganAt: number
  readonly endedAt: number
  /** When it had to be over at the latest, ms after it began. */
  readonly deadlineMs: number
  readonly outcome: Outcome
}

export interface Ask {
  readonly actor: string
  readonly url: string
  readonly init?: RequestInit
  readonly deadlineMs: number
}

export type Body = Readonly<Record<string, unknown>>

/** `body`: the JSON object of an answer, empty where there was no answer. */
export interface Answered {
  readonly outcome: Outcome
  readonly body: Body
}

/** How much longer than its deadline a request is waited for, so that it shows how late it is. */
const PATIENCE_MS = 10_000

export class History {
  readonly exchanges: Exchange[] = []
  /** Times in which no answer can reach a client when it should. */
  readonly #excused: { readonly from: number; to: number }[] = []

  /** Whether the way between client and bridge was bad while this went on. */
  isExcused({ beganAt, endedAt }: Exchange): boolean {
    return this.#excused.some(({ from, to }) => beganAt <= to && endedAt >= from)
  }

  /** What is under way until `work` is done owes no deadline. */
  async excusing(work: () => Promise<void>): Promise<void> {
    const time = { from: performance.now(), to: Number.POSITIVE_INFINITY }
    this.#excused.push(time)
    await work()
    time.to = performance.now()
  }

  /** Makes a request, reads all of its JSON, and keeps what became of it; never throws. */
  async ask({ actor, url, init, deadlineMs }: Ask): Promise<Answered> {
    const beganAt = performance.now()
    const { outcome, body } = await answerOf(url, {
      ...init,
      signal: AbortSignal.timeout(deadlineMs + PATIENCE_MS),
    })
    const { pathname, search } = new URL(url)
    const request = `${init?.method ?? 'GET'} ${pathname}${search.replaceAll(/cursor=[^&]*/g, 'cursor=…')}`
    this.exchanges.push({ actor, request, beganAt, endedAt: performance.now(), deadlineMs, outcome })
    return { outcome, body }
  }

  /** The longest that a request of these took, ms. */
  longest(of: (exchange: Exchange) => boolean): number {
    return this.exchanges
      .filter(of)
      .reduce((most, { beganAt, endedAt }) => Math.max(most, endedAt - beganAt), 0)
  }
}

/** What came of a request whose answer is a stream: of a refusal its code. */
export async function outcomeOf(response: Response): Promise<Outcome> {
  const { code } = response.ok ? {} : ((await response.json()) as { code?: string })
  return { status: response.status, code }
}

async function answerOf(url: string, init: RequestInit): Promise<Answered> {
  try {
    const response = await fetch(url, init)
    const body = (await response.json()) as Body
    // A failure after the answer has begun is told in it.
    const { code } = (body.error ?? body) as { code?: unknown }
    return { outcome: { status: response.status, code: typeof code === 'string' ? code : undefined }, body }
  } catch (err) {
    return { outcome: { broken: reasonOf(err) }, body: {} }
  }
}

export function reasonOf(err: unknown): string {
  if (!(err instanceof Error)) return String(err)
  const { cause } = err
  return cause instanceof Error ? `${err.name}: ${cause.message}` : `${err.name}: ${err.message}`
}

export const wasAnswered = (outcome: Outcome): outcome is Exclude<Outcome, { broken: string }> =>
  'status' in outcome

export const succeeded = (outcome: Outcome): boolean =>
  wasAnswered(outcome) && outcome.status < 300 && outcome.code === undefined
