/** The test that the publish route, which checks by itself, takes and refuses what its contract's schemas do. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { z } from 'zod'
import { createDependencies } from '../../src/bridge.ts'
import type { Session } from '../../src/context.ts'
import { BridgeError, type FieldError } from '../../src/errors.ts'
import { createMetrics } from '../../src/metrics.ts'
import { createRouter } from '../../src/router.ts'
import { publish } from '../../src/routes/publish.ts'
import { isReserved } from '../../src/schemas/reserved-subjects.ts'
import { readSettings } from '../../src/settings.ts'

/** What becomes of a request: its refused fields, or that it came to JetStream with this subject. */
type Outcome = { readonly refused: readonly FieldError[] } | { readonly code: string } | 'taken'

/** A session that is never asked for more than the first thing a publish needs of it. */
const session = {
  messageIdOf: (key: string) => key,
  jetstream: { server: () => Promise.reject(new BridgeError('jetstream_timeout', 'Taken.')) },
} as unknown as Session

const app = createRouter()
const settings = readSettings({
  AUTH: 'none',
  NATS_URL: 'ws://127.0.0.1:1',
  TOKEN_KEYS: `k:${'A'.repeat(43)}`,
})
const metrics = createMetrics({})
const dependencies = createDependencies(settings, {
  host: 'node',
  metrics,
  openSession: () => session,
  writeLine: () => {},
})

app.use(async (c, next) => {
  c.set('dependencies', dependencies)
  c.set('session', session)
  await next()
})
app.route('/', publish)
app.onError((failure, c) =>
  failure instanceof BridgeError ? c.json({ code: failure.code, errors: failure.errors }) : c.json({}, 500),
)

const contract = publish.openAPIRegistry.definitions.flatMap((definition) =>
  definition.type === 'route' ? [definition.route.request] : [],
)[0] as { params: z.ZodType; query: z.ZodType; headers: z.ZodType }

interface Sent {
  readonly subject: string
  readonly query: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
}

async function outcome({ subject, query, headers }: Sent): Promise<Outcome> {
  const search = new URLSearchParams(query).toString()
  const url = `http://bridge/v1/subjects/${encodeURIComponent(subject)}/messages${search && `?${search}`}`
  const answer = await app.request(url, { method: 'POST', headers })
  const { code, errors } = (await answer.json()) as { code: string; errors?: readonly FieldError[] }
  if (errors) return { refused: errors }
  return code === 'jetstream_timeout' ? 'taken' : { code }
}

/** The schemas in the order in which a route that is checked by the library asks them. */
function wanted({ subject, query, headers }: Sent): Outcome {
  const asked = [
    contract.query.safeParse(query),
    contract.params.safeParse({ subject }),
    contract.headers.safeParse(headers),
  ]
  for (const { error } of asked) {
    if (error) return { refused: error.issues.flatMap(toFieldErrors) }
  }
  return isReserved(subject) ? { code: 'subject_not_found' } : 'taken'
}

function toFieldErrors(issue: z.core.$ZodIssue): FieldError[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((field) => ({ field, message: 'is not known here' }))
  }
  return [{ field: issue.path.map(String).join('.'), message: issue.message }]
}

const token = fc.constantFrom(
  'orders',
  'eu',
  '42',
  '*',
  '>',
  '',
  ' ',
  '\t',
  '\u0000',
  '\u200b',
  'ü',
  '$JS',
  'a'.repeat(4_000),
)
const subject = fc
  .oneof(
    fc.array(token, { minLength: 1, maxLength: 4 }).map((tokens) => tokens.join('.')),
    fc.string(),
  )
  // What a URL cannot hold, or takes for a step in its path.
  .filter((text) => !['', '.', '..'].includes(text) && text.isWellFormed())
const value = fc.constantFrom(
  '*',
  '"41"',
  '"x"',
  '41',
  'k',
  'sub',
  'all',
  'a'.repeat(1_025),
  '+1',
  '1h',
  'ORDERS',
)
const name = fc.constantFrom(
  'idempotency-key',
  'if-match',
  'if-none-match',
  'nats-ttl',
  'nats-rollup',
  'nats-expected-stream',
  'nats-expected-last-sequence',
  'nats-incr',
  'traceparent',
  'content-type',
  'natsh-order',
  'ce-id',
  'constructor',
  'x-other',
)
const query = fc.oneof(
  { weight: 4, arbitrary: fc.constant({}) },
  fc.dictionary(fc.constantFrom('limit', 'subject', 'x'), fc.constantFrom('', '1')),
)
const exclusive = ({ headers }: Sent) => !('if-match' in headers && 'if-none-match' in headers)

describe('publishMessage', () => {
  it('takes what its schemas take, and names the fields that they name', async () => {
    const sent = fc.record({ subject, query, headers: fc.dictionary(name, value, { maxKeys: 4 }) })
    await fc.assert(
      fc.asyncProperty(sent.filter(exclusive), async (request) => {
        expect(await outcome(request)).toEqual(wanted(request))
      }),
      { numRuns: 2_000 },
    )
  })
})
