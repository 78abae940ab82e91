/** The contract: the OpenAPI document, written from the routes of an app. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { AppEnv } from '../context.ts'
import { examples } from '../schemas/examples.ts'
import { spelledNatsHeader } from '../schemas/nats-headers.ts'
import { problemExamples } from '../schemas/problem.ts'

/** An OpenAPI 3.1 document. */
export interface Contract {
  openapi: string
  [member: string]: unknown
}

const description = `NATS JetStream behind HTTP: publish, read, pull and acknowledge from any language that can make a request.

Positions travel in cursors and deliveries in ack tokens, both opaque, so any instance answers any request.

JSON is snake_case. Times are RFC 3339 in UTC, durations whole milliseconds (\`_ms\`), sizes bytes (\`_bytes\`), sequences
integers. Unknown query parameters and unknown JSON fields are refused, by name.

Every failure is an RFC 9457 problem whose \`code\` is the promise: \`retryable\` says whether the very same request may be
sent again, \`side_effects\` whether it may have taken effect. A path that is none of these is \`not_found\`, another
method \`method_not_allowed\`. A failure of a stream that has begun is its last event or line.

\`Authorization\` carries a NATS user and password, or a NATS token; NATS decides what it may do.`

/**
 * Writes what the routes of `app` promise, as openapi/openapi.json has it. It takes a while: keep what it answers.
 * `publicPath`: under which a proxy offers the bridge.
 */
export function writeContract(app: OpenAPIHono<AppEnv>, publicPath = ''): Contract {
  const document = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Sluice',
      version: '1',
      description,
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    servers: [{ url: `${publicPath}/`, description: 'This bridge.' }],
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
  document.paths = renamed(document.paths ?? {})
  return { ...document }
}

const PROBLEM = 'application/problem+json'

const REQUEST_ID = 'X-Request-Id'

type Document = ReturnType<OpenAPIHono<AppEnv>['getOpenAPI31Document']>
type Components = NonNullable<Document['components']>
type Responses = NonNullable<Components['responses']>
type Answer = Exclude<Responses[string], { $ref: string }>

const SECURITY_SCHEMES: NonNullable<Components['securitySchemes']> = {
  natsUser: { type: 'http', scheme: 'basic', description: 'A NATS user and password.' },
  natsToken: { type: 'http', scheme: 'bearer', description: 'A NATS token.' },
}

/** What the route schemas cannot say: the spelling of headers, and what is written once for all operations. */
function refine(document: Document) {
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
  document.components = {
    securitySchemes: SECURITY_SCHEMES,
    examples: examplesIn(JSON.stringify([document.paths, shared])),
    ...document.components,
    responses: shared,
    headers: {
      [REQUEST_ID]: {
        description: 'Names the request, in logs and problems: taken from the request where it is sane.',
        required: true,
        schema: { type: 'string' },
      },
    },
  }
}

/**
 * Names of path parameters that generators also give to what they write into a function: the code they make would declare
 * one twice (orval reads lines from a local called `stream`). On the wire a path has no names, and a refusal says `stream`.
 */
const PARAMETER_NAMES: Readonly<Record<string, string>> = { stream: 'stream_name' }

function renamed(paths: NonNullable<Document['paths']>): NonNullable<Document['paths']> {
  const rename = (name: string) => PARAMETER_NAMES[name] ?? name
  for (const operation of Object.values(paths).flatMap((path) => Object.values(path)))
    for (const parameter of operation.parameters ?? [])
      if (parameter.in === 'path') parameter.name = rename(parameter.name)
  return Object.fromEntries(
    Object.entries(paths).map(([path, operations]) => [
      path.replace(/\{(\w+)\}/g, (_, name: string) => `{${rename(name)}}`),
      operations,
    ]),
  )
}

/** The examples that `text` refers to: a code that no operation ends with is explained by the page alone. */
function examplesIn(text: string) {
  const all = [...Object.entries(examples), ...problemExamples]
  return Object.fromEntries(all.filter(([name]) => text.includes(`"#/components/examples/${name}"`)))
}

/** Header names have no case in HTTP; people know them by this one. */
function spelled(name: string): string {
  if (name.startsWith('trace')) return name
  if (name === 'last-event-id') return 'Last-Event-ID'
  return spelledNatsHeader(name) ?? name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase())
}
