/** The figures of coming back: from a cursor anywhere in a stream to the first message, however long the stream is. */
import type { Contender, Figure, Measurement } from '../figure.ts'
import type { Rate, Span } from '../load/rate.ts'
import type { Place } from '../load/resume.ts'
import type { Pace } from '../options.ts'
import type { Stage } from '../stage.ts'
import { makeStream } from './stored.ts'

const PAYLOAD_BYTES = 96
const CURSORS = 200
const FLAT = { of: 'ratio', most: 1.3 }

type Held = { name: string; messages: number }

const label = ({ messages }: Held): string => `${messages.toLocaleString('en-US')} messages`

const timed = ({ p50Ms, p99Ms }: Rate): Measurement => ({
  value: p50Ms ?? Number.NaN,
  ...(p99Ms === undefined ? {} : { p99Ms }),
})

const figureOf = (who: string, contenders: Contender[]): Figure => ({
  title: `resume at a random cursor, ${who}`,
  unit: 'ms to the first message, p50',
  contenders,
})

/** The shortest stream comes first: the longer ones are to be no slower. */
export const resumeFigures = async (stage: Stage, pace: Pace): Promise<Figure[]> => {
  const { native, http, natsUrl } = stage
  const streams = pace.resumed.map((messages) => ({ name: `BENCH_RESUME_${messages}`, messages }))
  for (const { name, messages } of streams)
    await makeStream(stage, { name, subject: `bench.resume.${messages}`, messages, bytes: PAYLOAD_BYTES })
  const warming = { warmUpMs: 0, measureMs: pace.warmUpMs / 2 }
  const measured = { warmUpMs: 0, measureMs: pace.measureMs }

  const overHttp = (url: string, { name: stream, messages }: Held): Contender => {
    let places: Place[] = []
    const resume = (span: Span) => http.ask('resume', { url, stream, places, span })
    return {
      name: label({ name: stream, messages }),
      async warmUp() {
        places = await http.ask('collectCursors', { url, stream, messages, count: CURSORS })
        await resume(warming)
      },
      measure: async () => timed(await resume(measured)),
      floors: messages === streams[0]?.messages ? [] : [FLAT],
    }
  }
  const natively = ({ name: stream, messages }: Held): Contender => {
    const resume = (span: Span) => native.ask('resumeNatively', { url: natsUrl, stream, messages, span })
    return {
      name: label({ name: stream, messages }),
      warmUp: () => resume(warming),
      measure: async () => timed(await resume(measured)),
    }
  }
  return [
    figureOf('native Direct Get', streams.map(natively)),
    ...stage.hosts.map(({ name, url }) =>
      figureOf(
        name,
        streams.map((stream) => overHttp(url, stream)),
      ),
    ),
  ]
}
