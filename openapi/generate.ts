/** Owns the published contract: writes openapi.json from the routes; with --check it fails where the file differs. */
import { readFileSync, writeFileSync } from 'node:fs'
import { createApp } from '../src/app.ts'
import { createDependencies } from '../src/bridge.ts'
import { examples } from '../src/schemas/examples.ts'
import { problemExamples } from '../src/schemas/problem.ts'
import { readSettings } from '../src/settings.ts'

const FILE = new URL('openapi.json', import.meta.url)

const description = `NATS JetStream behind HTTP: publish, read, pull and acknowledge from any language that can make a request.

Positions travel in cursors and deliveries in ack tokens, both opaque, so any instance answers any request.

JSON is snake_case. Times are RFC 3339 in UTC, durations whole milliseconds (\`_ms\`), sizes bytes (\`_bytes\`), sequences
integers. Unknown query parameters and unknown JSON fields are refused, by name.

Every failure is an RFC 9457 problem whose \`code\` is the promise: \`retryable\` says whether the very same request may be
sent again, \`side_effects\` whether it may have taken effect. A path that is none of these is \`not_found\`, another
method \`method_not_allowed\`. A failure of a stream that has begun is its last event or line.

\`Authorization\` carries a NATS user and password, or a NATS token; NATS decides what it may do.`

function generate(): string {
  const settings = readSettings({
    AUTH: 'nats',
    NATS_URL: 'ws://127.0.0.1:8080',
    TOKEN_KEYS: `k1:${'A'.repeat(43)}`,
  })
  const openSession = () => {
    throw new Error('Nothing is asked while the contract is written.')
  }
  const app = createApp(createDependencies(settings, { openSession, noticesDisconnects: true }))
  app.openAPIRegistry.registerComponent('securitySchemes', 'natsUser', {
    type: 'http',
    scheme: 'basic',
    description: 'A NATS user and password.',
  })
  app.openAPIRegistry.registerComponent('securitySchemes', 'natsToken', {
    type: 'http',
    scheme: 'bearer',
    description: 'A NATS token.',
  })
  for (const [name, example] of [...Object.entries(examples), ...problemExamples])
    app.openAPIRegistry.registerComponent('examples', name, example)
  const document = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Sluice',
      version: '1',
      description,
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    servers: [{ url: '/', description: 'This bridge.' }],
    security: [{ natsUser: [] }, { natsToken: [] }, {}],
    tags: [
      { name: 'Publish', description: 'Messages in.' },
      { name: 'Read', description: 'Messages out, by cursor: no consumer, nothing kept on the server.' },
      { name: 'Consumers', description: 'Shared work: durable consumers, pulls and acknowledgements.' },
      { name: 'Browsers', description: 'Tickets for EventSource.' },
      { name: 'Streams', description: 'Where messages are kept.' },
      { name: 'Around it', description: 'Health, capabilities and this contract.' },
    ],
  })
  refine(document)
  return `${JSON.stringify(document, null, 2)}\n`
}

type Document = ReturnType<ReturnType<typeof createApp>['getOpenAPI31Document']>

const PROBLEM = 'application/problem+json'

const REQUEST_ID = 'X-Request-Id'

type Responses = NonNullable<NonNullable<Document['components']>['responses']>
type Answer = Exclude<Responses[string], { $ref: string }>

/** What the route schemas cannot say: the spelling of headers, and what is written once for all operations. */
function refine(document: Document) {
  const components = document.components ?? {}
  const shared: Responses = {}
  for (const operation of Object.values(document.paths ?? {}).flatMap((path) => Object.values(path))) {
    for (const parameter of operation.parameters ?? []) {
      if (parameter.in === 'header') parameter.name = spelled(parameter.name)
    }
    for (const [status, response] of Object.entries<Answer>(operation.responses)) {
      response.headers = { ...response.headers, [REQUEST_ID]: { $ref: `#/components/headers/${REQUEST_ID}` } }
      const codes = Object.keys(response.content?.[PROBLEM]?.examples ?? {})
      if (codes.length === 0) continue
      const name = codes.join('.')
      shared[name] = response
      operation.responses[status] = { $ref: `#/components/responses/${name}` }
    }
  }
  // A code that no operation ends with is explained by the page alone.
  const used = JSON.stringify([document.paths, shared])
  const kept = Object.entries(components.examples ?? {}).filter(([name]) =>
    used.includes(`"#/components/examples/${name}"`),
  )
  document.components = {
    ...components,
    responses: shared,
    headers: {
      [REQUEST_ID]: {
        description: 'Names the request, in logs and problems: taken from the request where it is sane.',
        required: true,
        schema: { type: 'string' },
      },
    },
    examples: Object.fromEntries(kept),
  }
}

/** Header names have no case in HTTP; people know them by this one. */
function spelled(name: string): string {
  const special: Readonly<Record<string, string>> = {
    'nats-ttl': 'Nats-TTL',
    'last-event-id': 'Last-Event-ID',
  }
  if (name.startsWith('trace')) return name
  return special[name] ?? name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase())
}

const generated = generate()
if (!process.argv.includes('--check')) {
  writeFileSync(FILE, generated)
  console.log('openapi/openapi.json is written.')
} else if (readFileSync(FILE, 'utf8') !== generated) {
  console.error('openapi/openapi.json is not what the routes say. Run: npm run openapi')
  process.exit(1)
}
