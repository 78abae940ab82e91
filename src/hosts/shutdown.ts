/** The end of a Node process: nothing new, what is under way to its end, NATS last, and out within a bound. */
import { delay } from '../turns.ts'
import type { EndingBodies } from './ending-bodies.ts'
import type { OpenAnswers } from './open-answers.ts'
import type { Sessions } from './sessions.ts'

/** Of the time there is, what requests have to come to their end; the rest is for NATS. */
const SHARE_OF_REQUESTS = 0.5
/** Turns of the event loop in which a client that was cut off is heard of, and what it did not get goes back. */
const TURNS = 4

export interface ShutdownParts {
  readonly answers: OpenAnswers
  readonly bodies: EndingBodies
  readonly sessions: Sessions
  /** All of it is over by then, ms. */
  readonly withinMs: number
}

/** Ends at SIGTERM or SIGINT with exit code 0, whatever is in the way; at a second one at once, with 1. */
export function shutDownOnSignals(parts: ShutdownParts): void {
  let isEnding = false
  const end = () => {
    if (isEnding) process.exit(1)
    isEnding = true
    setTimeout(() => process.exit(0), parts.withinMs)
    shutDown(parts).then(
      () => process.exit(0),
      () => process.exit(0),
    )
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
}

async function shutDown({ answers, bodies, sessions, withinMs }: ShutdownParts): Promise<void> {
  const answered = answers.close()
  sessions.dismiss()
  bodies.end()
  await Promise.race([answered, delay(withinMs * SHARE_OF_REQUESTS)])
  // What such a client did not take is given back while there is still a connection to NATS.
  answers.cutBegun()
  for (let turn = 0; turn < TURNS; turn += 1) await delay(0)
  // What is still waiting for NATS now fails in words, and has the rest of the time to say so.
  await sessions.close()
  await answered
}
