/** Row 19: fuzzed subjects, names, filters and headers, while a raw NATS client hears all that the bridge sends. */

import { isLinesType } from '../../../src/media-types.ts'
import { usersText } from '../../auth/support.ts'
import { inParallel, until } from '../../contract/expectations.ts'
import { type HostName, startHost } from '../../support/host.ts'
import { startNats } from '../../support/nats.ts'
import type { Row, RowRun } from '../row.ts'
import { type Outcome, sendBare } from './bare-http.ts'
import { createRequests, type FuzzedRequest } from './fuzzed-requests.ts'
import { createWords } from './fuzzed-words.ts'
import { createJudge } from './spied-messages.ts'
import { type Spy, startSpy } from './spy.ts'

const BRIDGE = { name: 'bridge', password: 'bridge-secret' }
const SPY = { name: 'spy', password: 'spy-secret' }
const AT_ONCE = 16
const WITHIN_MS = 20_000
const LAST = 'fuzz.the-last'

interface Place {
  readonly url: string
  readonly spy: Spy
}

async function start(run: RowRun, name: HostName): Promise<Place> {
  const nats = await startNats({ configText: `authorization { ${usersText([BRIDGE, SPY])} }` })
  run.defer(() => nats.stop())
  // Where no stream listens, the spy does: nobody tells the bridge then that there is none, and it has to wait.
  const env = {
    NATS_USER: BRIDGE.name,
    NATS_PASSWORD: BRIDGE.password,
    REQUEST_TIMEOUT_MS: '500',
    PUBLISH_DEADLINE_MS: '0',
  }
  const host = await startHost(name, { natsUrl: nats.wsUrl, env })
  run.defer(() => host.stop())
  const made = await fetch(`${host.url}/v1/streams`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ name: 'FUZZ', subjects: ['fuzz', 'fuzz.>'], storage: 'memory', max_msgs: 10_000 }),
  })
  if (!made.ok) throw new Error(`The stream was not made: ${await made.text()}`)
  const spy = await startSpy(nats.url, SPY.name, SPY.password)
  run.defer(() => spy.close())
  return { url: host.url, spy }
}

/** Names and values as they are: bytes that no client library would send. */
function send(url: string, { method, path, lines, body }: FuzzedRequest): Promise<Outcome> {
  const head = [
    `${method} ${path} HTTP/1.1`,
    'Host: localhost',
    ...(method === 'GET' ? [] : [`Content-Length: ${body.length}`]),
    ...lines.map(([name, value]) => `${name}: ${value}`),
  ]
  const pieces = [Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'utf8'), body]
  return sendBare(url, { pieces, withinMs: WITHIN_MS })
}

/** Which of a request's publishes were said to be stored. */
function storedOf({ intents }: FuzzedRequest, { answer }: Outcome): readonly number[] {
  if (!answer || answer.status >= 300 || intents.length === 0) return []
  const text = answer.bytes.toString('utf8')
  const isStored = (result: { seq?: number } | undefined) => result?.seq !== undefined
  const results: { seq?: number }[] = isLinesType(answer.headers.get('Content-Type'))
    ? text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
    : ((JSON.parse(text) as { results?: [] }).results ?? [JSON.parse(text)])
  return intents.filter((_, index) => isStored(results[index])).map(({ id }) => id)
}

async function runOn(run: RowRun, name: HostName): Promise<void> {
  const { url, spy } = await start(run, name)
  const next = createRequests(createWords(run.random(name)))
  const judge = createJudge()
  const stored: number[] = []
  const faults: string[] = []
  let refused = 0
  const requests = Array.from({ length: run.rounds({ full: 8_000, part: 1_000 }) }, next)
  await inParallel(requests, AT_ONCE, async (request) => {
    judge.expect(request)
    const outcome = await send(url, request)
    const { how, answer } = outcome
    const told = () =>
      `${name}: ${request.method} ${request.path} ${JSON.stringify(request.lines)} ${request.body}`.slice(
        0,
        600,
      )
    if (how === 'silent') run.broken('I9', `${told()}: nothing within ${WITHIN_MS} ms`)
    if (
      answer &&
      answer.status >= 500 &&
      !/"code":"(publish_unconfirmed|jetstream_timeout|not_supported)/.test(answer.bytes.toString())
    )
      run.broken('I9', `${told()}: ${answer.status} ${answer.bytes.toString().slice(0, 300)}`)
    if (answer === undefined || answer.status >= 400) refused += 1
    stored.push(...storedOf(request, outcome))
    faults.push(...judge.judge(spy.take()))
  })
  faults.push(...(await hearTheRest({ url, spy }, judge)))

  for (const fault of faults.slice(0, 20)) run.broken('I6', `${name}: a message ${fault}`)
  for (const id of stored)
    if (judge.heard(id) === 0) run.broken('I6', `${name}: publish ${id}, answered as stored, was not heard`)
  run.injected(`${name}: a request of fuzzed subjects, names, filters or headers`, requests.length)
  const { asked, api, replies } = judge.counts
  if (stored.length < requests.length / 20 || api === 0 || refused < requests.length / 10)
    throw new Error(`${name}: only ${stored.length} stored, ${api} requests, ${refused} refused`)
  run.figure(
    `${name}: ${requests.length.toLocaleString('en')} fuzzed requests; heard: ${asked.toLocaleString('en')} publishes as they were ` +
      `asked for, ${api.toLocaleString('en')} requests to JetStream, ${replies.toLocaleString('en')} replies, ${faults.length} others`,
  )
}

/** What comes before a message that is known to be the last. */
async function hearTheRest({ url, spy }: Place, judge: ReturnType<typeof createJudge>): Promise<string[]> {
  const faults: string[] = []
  const published = await fetch(`${url}/v1/subjects/${LAST}/messages`, { method: 'POST' })
  if (!published.ok) throw new Error(`The last message was not stored: ${await published.text()}`)
  await until('the last message', async () => {
    const heard = spy.take()
    const end = heard.findIndex(({ subject }) => subject === LAST)
    faults.push(...judge.judge(end === -1 ? heard : heard.slice(0, end)))
    return end !== -1
  })
  return faults
}

export const spiedPublishesRow: Row = {
  number: 19,
  fault: 'fuzzed subjects and headers, with a raw NATS client spying on everything',
  shows: ['I6', 'I9'],
  async run(run) {
    for (const name of run.hosts) await runOn(run, name)
  },
}
