/** Publishing lines of JSON as they come, each answered in its order while more are on their way. */
import type { Context } from 'hono'
import { answer } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import { LineExchange } from '../publishing/line-exchange.ts'
import { readLines } from '../publishing/lines.ts'
import { readLine } from '../publishing/outgoing.ts'
import { Pipeline } from '../publishing/pipeline.ts'
import { bodyOf, withoutSilence } from '../read-body.ts'
import { requireHeed } from '../schemas/nats-headers.ts'
import { createTally } from '../tally.ts'
import { createResultWriter, publisherOf } from './publishing.ts'

/** Beside its payload, in base64, a line may hold so many bytes. */
const LINE_OVERHEAD_BYTES = 65_536

/** A conversation in which nothing is said for so long, ms, is over: it has a slot. */
const SILENCE_MS = 300_000
/** In the middle of a line of more than that it is over sooner: that waits in memory. */
const SMALL_LINE_BYTES = 65_536
/** Messages under way are there as they are sent, and in the connection's buffer while NATS does not take them. */
const COPIES = 2

/** Answers lines with lines of the same `type`. What fails before the first one is read is still a status. */
export async function answerLines(c: Context<AppEnv>, type: string): Promise<Response> {
  const server = await c.get('session').jetstream.server()
  const { openHold, publishers, settings, startTimer } = c.get('dependencies')
  const { tenant } = c.get('caller')
  let restBytes = 0
  const silenceMs = () => (restBytes > SMALL_LINE_BYTES ? settings.BODY_SILENCE_MS : SILENCE_MS)
  const body = withoutSilence(bodyOf(c.req.raw), { silenceMs, startTimer })
  const maxLineBytes = Math.ceil((server.maxPayloadBytes * 4) / 3) + LINE_OVERHEAD_BYTES
  const toId = c.get('session').messageIdOf
  const write = createResultWriter(c)
  const release = publishers.take(tenant)
  const leave = c.get('session').use()
  const hold = openHold(tenant)
  const rest = createTally(hold, 1)
  const countRest = (bytes: number) => {
    restBytes = bytes
    return rest.follow(bytes)
  }
  const exchange = new LineExchange({
    lines: readLines(body, maxLineBytes, countRest),
    tally: createTally(hold, COPIES),
    pipeline: new Pipeline(publisherOf(c)),
    startTimer,
    read(line) {
      if (typeof line !== 'string') throw line
      const message = readLine(line, toId)
      requireHeed(message.headers, server)
      return message
    },
    async write(outcomes, index) {
      let text = ''
      for (const [at, outcome] of outcomes.entries()) {
        const result = write(outcome, index + at)
        text += `${typeof result === 'string' ? result : await result}\n`
      }
      return text
    },
    requestId: c.get('requestId'),
    unreadMs: settings.UNREAD_RESULTS_MS,
    onEnd() {
      release()
      leave()
      hold.release()
    },
  })
  const results = new ReadableStream<Uint8Array>(exchange, { highWaterMark: 0 })
  return answer(c, results, { headers: { 'Content-Type': type } })
}
