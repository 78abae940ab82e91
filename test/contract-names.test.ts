/** What the contract calls its parameters and bodies, so that generators make code of them that compiles and is taken. */
import { expect, test } from 'vitest'
import document from '../openapi/openapi.json' with { type: 'json' }

interface Operation {
  readonly operationId: string
  readonly parameters?: readonly { readonly in: string; readonly name: string }[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema?: Schema }>> }
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, unknown>> }>>
}
interface Schema {
  readonly $ref?: string
  readonly type?: string
}

const paths = document.paths as unknown as Readonly<Record<string, Readonly<Record<string, Operation>>>>
const operations = Object.values(paths).flatMap((path) => Object.values(path))
const schemas = document.components.schemas as Readonly<Record<string, Schema>>

/** What generators call things inside of the functions that they write. */
const LOCALS = [
  ...[
    'res',
    'result',
    'response',
    'req',
    'request',
    'stream',
    'body',
    'data',
    'error',
    'text',
    'json',
    'reader',
  ],
  ...[
    'url',
    'path',
    'query',
    'params',
    'headers',
    'options',
    'config',
    'init',
    'signal',
    'client',
    'self',
    'kwargs',
  ],
]

test('no path parameter is called as generators call their locals', () => {
  const names = operations.flatMap(({ parameters = [] }) =>
    parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name),
  )
  expect(names).toContain('stream_name')
  expect(names.filter((name) => LOCALS.includes(name))).toEqual([])
})

test('the names in a path are those of its parameters', () => {
  for (const [path, described] of Object.entries(paths))
    for (const { parameters = [] } of Object.values(described)) {
      const named = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name)
      expect([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort()).toEqual(named.sort())
    }
})

test('application/json comes first where a body or an answer may be that', () => {
  const contents = operations.flatMap(({ requestBody, responses }) => [
    requestBody?.content ?? {},
    ...Object.values(responses).map(({ content }) => content ?? {}),
  ])
  const late = contents.map((content) => Object.keys(content).indexOf('application/json'))
  expect(late.filter((place) => place > 0)).toEqual([])
})

test('each JSON body is typed as an object', () => {
  for (const { operationId, requestBody } of operations) {
    const schema = requestBody?.content['application/json']?.schema
    if (!schema) continue
    const resolved = schema.$ref ? schemas[schema.$ref.split('/').at(-1) ?? ''] : schema
    expect({ operationId, type: resolved?.type }).toEqual({ operationId, type: 'object' })
  }
})
