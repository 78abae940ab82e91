/** How the documentation page shows an operation: what it takes, what it answers, how it fails, how to try it. */
import { html } from 'hono/html'
import { ERRORS, type ErrorCode } from '../errors.ts'
import { EVENTS_TYPE, LINES_TYPE } from '../media-types.ts'
import {
  type Fragment,
  inline,
  nameOf,
  prose,
  type Row,
  renderRows,
  rowsOf,
  type Schema,
  type Schemas,
  typeOf,
} from './docs-schema.ts'

/** What the page reads of an OpenAPI document. */
export interface OpenApiDocument {
  readonly info: { readonly title: string; readonly version: string; readonly description: string }
  readonly servers: readonly { readonly url: string }[]
  readonly tags: readonly { readonly name: string; readonly description: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: {
    readonly schemas: Schemas
    readonly responses: Readonly<Record<string, Answer>>
    readonly examples: Readonly<Record<string, Example>>
  }
}

interface Operation {
  readonly operationId: string
  readonly tags: readonly string[]
  readonly summary: string
  readonly description: string
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: Body & { readonly required?: boolean }
  readonly responses: Readonly<Record<string, Answer>>
}

/** An operation with where it is found. */
export interface Endpoint extends Operation {
  readonly method: string
  readonly path: string
}

interface Parameter {
  readonly name: string
  readonly in: string
  readonly required?: boolean
  readonly description?: string
  readonly schema: Schema
}

interface Body {
  readonly description?: string
  readonly content?: Readonly<Record<string, Media>>
}

interface Media {
  readonly schema: Schema
  readonly examples?: Readonly<Record<string, Example>>
}

interface Answer extends Body {
  readonly $ref?: string
  readonly headers?: Readonly<Record<string, Header>>
}

interface Header {
  readonly $ref?: string
  readonly description?: string
  readonly schema?: Schema
}

interface Example {
  readonly $ref?: string
  readonly summary?: string
  readonly value?: unknown
}

const PROBLEM = 'application/problem+json'

export const renderMethod = (method: string): Fragment =>
  html`<span class="method ${method}">${method.toUpperCase()}</span>`

export function renderOperation(document: OpenApiDocument, endpoint: Endpoint): Fragment {
  const { operationId, method, path, summary, description, parameters = [], requestBody } = endpoint
  const answers = Object.entries(endpoint.responses)
  const failures = answers.filter(([, answer]) => codesOf(document, answer).length > 0)
  const others = answers.filter((answer) => !failures.includes(answer))
  return html`<article id="${operationId}">
<h3>${summary}</h3>
<p class="endpoint">${renderMethod(method)} <code>${path}</code></p>
${prose(description)}
<pre class="try"><code>${triesOf(document, endpoint).join('\n')}</code></pre>
${['path', 'query', 'header'].map((place) => renderParameters(place, parameters))}
${requestBody ? html`<h4>Request body${requestBody.required ? '' : ' (optional)'}</h4>${prose(requestBody.description)}${renderContent(document, requestBody)}` : ''}
${others.map(([status, answer]) => renderAnswer(document, status, answer))}
<h4>Failures</h4>
<ul class="failures">${failures.flatMap(([, answer]) => codesOf(document, answer)).map(renderCode)}</ul>
</article>`
}

function renderParameters(place: string, parameters: readonly Parameter[]): Fragment {
  const rows = parameters.filter((parameter) => parameter.in === place)
  return renderRows(
    place === 'header' ? 'Header' : `In the ${place}`,
    rows.map(({ name, required = false, schema, description }) => ({ name, required, schema, description })),
  )
}

function renderAnswer(document: OpenApiDocument, status: string, answer: Answer): Fragment {
  // What every answer carries is said once, at the top of the page.
  const headers = Object.entries(answer.headers ?? {})
    .filter(([, { $ref }]) => $ref === undefined)
    .map(([name, { schema = {}, description }]): Row => ({ name, required: false, schema, description }))
  return html`<h4><span class="status">${status}</span> ${inline(answer.description)}</h4>
${renderContent(document, answer)}${renderRows('Header', headers)}`
}

function renderContent(document: OpenApiDocument, { content = {} }: Body): Fragment[] {
  const alike = Map.groupBy(Object.entries(content), ([, media]) => JSON.stringify(media))
  return [...alike.values()].map((same) => {
    const types = same.map(([type]) => type)
    const { schema = {}, examples = {} } = same[0]?.[1] ?? {}
    const named = schema.$ref ? (document.components.schemas[nameOf(schema.$ref)] ?? schema) : schema
    const fields = renderRows('Field', rowsOf(document.components.schemas, named))
    return html`<p class="media">${types.map((type) => html`<code>${type}</code> `)}${typeOf(schema)}</p>
${named.anyOf ? html`<p>One of ${typeOf(named)}.</p>` : ''}
${named.properties ? html`<details><summary>Fields</summary>${fields}</details>` : ''}
${Object.values(examples).map((example) => renderExample(types[0], resolved(document, example)))}`
  })
}

function renderExample(type = '', { summary, value }: Example): Fragment {
  return html`<figure><figcaption>${inline(summary)}</figcaption><pre><code>${written(type, value)}</code></pre></figure>`
}

/** An example as it goes over the wire; JSON with line breaks, for people. */
function written(type: string, value: unknown): string {
  if (typeof value === 'string') return value
  if (type === LINES_TYPE) return JSON.stringify(value)
  if (type !== EVENTS_TYPE) return JSON.stringify(value, undefined, 2)
  return Object.entries(value as object)
    .map(([name, part]) => `${name}: ${typeof part === 'string' ? part : JSON.stringify(part)}`)
    .join('\n')
}

function resolved({ components }: OpenApiDocument, example: Example): Example {
  return example.$ref ? (components.examples[nameOf(example.$ref)] ?? example) : example
}

/** The codes of a failure: each has an example of its own. */
function codesOf({ components }: OpenApiDocument, answer: Answer): ErrorCode[] {
  const { content } = answer.$ref ? (components.responses[nameOf(answer.$ref)] ?? answer) : answer
  return Object.keys(content?.[PROBLEM]?.examples ?? {}).filter((code): code is ErrorCode => code in ERRORS)
}

function renderCode(code: ErrorCode): Fragment {
  const { status, title } = ERRORS[code]
  return html`<li><span class="status">${status}</span> <a href="#${code}"><code>${code}</code></a> ${title}</li>`
}

/** A command for each type that the body may have, else for each representation of the answer; one where there is no choice. */
function triesOf(document: OpenApiDocument, endpoint: Endpoint): string[] {
  const bodies = differentTypes(endpoint.requestBody?.content).filter((type) => type !== '*/*')
  if (bodies.length > 1) return bodies.map((type) => tryOf(document, endpoint, { type }))
  const [, answer] = Object.entries(endpoint.responses).find(([status]) => status.startsWith('2')) ?? []
  const types = differentTypes(answer?.content)
  const usual = types[0] === EVENTS_TYPE ? EVENTS_TYPE : ''
  const others = types.slice(1).map((type) => (type === '*/*' ? 'application/octet-stream' : type))
  return [usual, ...others].map((accept) => tryOf(document, endpoint, { type: bodies[0], accept }))
}

/** Of types with the same content, which are other names of one, the first. */
function differentTypes(content: Body['content'] = {}): string[] {
  const alike = Map.groupBy(Object.keys(content), (type) => JSON.stringify(content[type]))
  return [...alike.values()].flatMap(([first]) => first ?? [])
}

/** A command for the shell. `type`: of the body; `accept`: the representation to ask for, empty for the usual one. */
function tryOf(
  document: OpenApiDocument,
  endpoint: Endpoint,
  { type, accept = '' }: { type: string | undefined; accept?: string },
): string {
  const { method, path, parameters = [], requestBody } = endpoint
  const media = type === undefined ? undefined : requestBody?.content?.[type]
  const [example] = Object.values(media?.examples ?? {})
  const data = example ? written(LINES_TYPE, resolved(document, example).value) : ''
  const options = [
    accept === EVENTS_TYPE ? '-N' : '',
    method === 'get' || (method === 'post' && data !== '') ? '' : `-X ${method.toUpperCase()}`,
    accept === '' ? '' : `-H 'Accept: ${accept}'`,
    type === undefined ? '' : `-H 'Content-Type: ${type}'`,
    data === '' ? '' : `-d '${data.replaceAll("'", "'\\''")}'`,
  ]
  const url = path.replace(/\{(\w+)\}/g, (_, name) => String(exampleOf(parameters, name)))
  return ['curl', ...options.filter((option) => option !== ''), `"$SLUICE${url}"`].join(' ')
}

function exampleOf(parameters: readonly Parameter[], name: string): unknown {
  return parameters.find((parameter) => parameter.name === name)?.schema.example ?? name
}
