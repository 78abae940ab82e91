/** A client that does nothing wrong, beside others that do: whether it is served, and how fast. */
import { publishPath } from '../../contract/client.ts'

export interface HealthyClient {
  /** Ends it. Throws where it has not asked anything. */
  stop(): Promise<Served>
}

export interface Served {
  readonly requests: number
  readonly p99Ms: number
  readonly longestMs: number
  /** What was not served, in words. */
  readonly failures: readonly string[]
}

const PAUSE_MS = 5
const GIVE_UP_MS = 20_000

type Ask = (path: string, init?: RequestInit) => Promise<unknown>

/** Takes turns, one request after the other, until it is stopped; `headers`: of each request. */
function startClient(
  url: string,
  headers: Readonly<Record<string, string>>,
  takeTurn: (ask: Ask, turn: number) => Promise<void>,
): HealthyClient {
  const times: number[] = []
  const failures: string[] = []
  let stopped = false

  const ask: Ask = async (path, init = {}) => {
    const beganAt = performance.now()
    const answer = await fetch(url + path, { ...init, headers, signal: AbortSignal.timeout(GIVE_UP_MS) })
    const text = await answer.text()
    times.push(performance.now() - beganAt)
    if (!answer.ok) throw new Error(`${answer.status} ${text.slice(0, 300)}`)
    return JSON.parse(text)
  }
  const work = async () => {
    for (let turn = 0; !stopped; turn += 1) {
      await takeTurn(ask, turn).catch((err: unknown) => failures.push(`turn ${turn}: ${String(err)}`))
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }
  const working = work()
  return {
    async stop() {
      stopped = true
      await working
      const sorted = times.sort((a, b) => a - b)
      if (sorted.length === 0) throw new Error('The healthy client has asked nothing')
      return {
        requests: sorted.length,
        p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
        longestMs: sorted.at(-1) ?? 0,
        failures,
      }
    },
  }
}

/** Publishes to a subject, and reads what it has published. */
export function startHealthyClient(
  url: string,
  stream: string,
  subject: string,
  headers: Readonly<Record<string, string>> = {},
): HealthyClient {
  return startClient(url, headers, async (ask, turn) => {
    const payload = `healthy ${turn}`
    const { seq } = (await ask(publishPath(subject), { method: 'POST', body: payload })) as { seq: number }
    const page = await ask(`/v1/streams/${stream}/messages?start=seq:${seq}&limit=1`)
    const [message] = (page as { messages: readonly { data: string }[] }).messages
    if (message?.data !== payload) throw new Error(`read ${message?.data} instead of ${payload}`)
  })
}

/** The same requests to a server that answers anything at once: how long this machine makes any client wait. */
export function startReferenceClient(url: string): HealthyClient {
  return startClient(url, {}, async (ask, turn) => {
    await ask('/', { method: 'POST', body: `healthy ${turn}` })
    await ask('/')
  })
}
