/** Every schema of a request has a bound: no list, record, text or number of a client's is as long as it likes. */
import { getOpenApiMetadata } from '@asteasolutions/zod-to-openapi'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createApp } from '../../src/app.ts'
import { createDependencies } from '../../src/bridge.ts'
import { createMetrics } from '../../src/metrics.ts'
import { eventsSchema } from '../../src/routes/publish-events.ts'
import { acksSchema } from '../../src/schemas/ack.ts'
import { batchSchema, looseBatchSchema } from '../../src/schemas/batch.ts'
import { cloudEventSchema } from '../../src/schemas/cloud-event.ts'
import { outgoingSchema } from '../../src/schemas/outgoing.ts'
import { publishHeaders } from '../../src/schemas/publish.ts'
import { settingsFor } from '../adapters/support.ts'

type Schema = z.core.$ZodType

/**
 * Values of any kind, each within a JSON text that is bounded before it is parsed (`requireBoundedJson`): what is looked at
 * message by message, and what is stored as it is.
 */
const BOUNDED_AS_TEXT = [
  /\.json$/,
  /\.data$/,
  /^looseBatchSchema\.messages\[\]$/,
  /^eventsSchema\[\]$/,
  // Extensions of a CloudEvent: how many, and what they may be, is checked behind the schema.
  /(?:loudEvent\w*|cloudevents\+json|cloudevents-batch\+json\[\])\.\*$/,
  /(?:loudEvent\w*|cloudevents\+json|cloudevents-batch\+json\[\])\.(?:data|\*)$/,
]

interface Check {
  readonly check: string
  readonly maximum?: number
  readonly value?: number | bigint
  readonly format?: string
}

const checksOf = (schema: Schema): Check[] =>
  (schema._zod.def.checks ?? []).map((check) => check._zod.def as unknown as Check)

const hasCheck = (schema: Schema, ...names: string[]) =>
  checksOf(schema).some(({ check }) => names.includes(check))

/** The places below `at` that have no bound. */
function unboundedIn(schema: Schema, at: string): string[] {
  const { def } = schema._zod as unknown as { def: Record<string, unknown> & { type: string } }
  const inner = (key: string) => unboundedIn(def[key] as Schema, at)
  switch (def.type) {
    case 'object': {
      const shape = Object.entries(def.shape as Record<string, Schema>)
      const members = shape.flatMap(([name, member]) => unboundedIn(member, `${at}.${name}`))
      return def.catchall === undefined
        ? members
        : [...members, ...unboundedIn(def.catchall as Schema, `${at}.*`)]
    }
    case 'array':
      return [
        ...(hasCheck(schema, 'max_length', 'length_equals') ? [] : [`${at}: an array`]),
        ...unboundedIn(def.element as Schema, `${at}[]`),
      ]
    case 'record':
      return [`${at}: a record that is not a boundedRecord`]
    case 'string':
      return hasCheck(schema, 'max_length', 'length_equals') ? [] : [`${at}: a string`]
    case 'number':
      return hasCheck(schema, 'less_than', 'number_format') || def.format !== undefined
        ? []
        : [`${at}: a number`]
    case 'union':
      return (def.options as Schema[]).flatMap((option, index) => unboundedIn(option, `${at}|${index}`))
    case 'pipe':
      return pipe(def as unknown as { in: Schema; out: Schema }, schema, at)
    case 'optional':
    case 'nullable':
    case 'default':
    case 'readonly':
    case 'nonoptional':
    case 'prefault':
      return inner('innerType')
    case 'unknown':
    case 'any':
      return BOUNDED_AS_TEXT.some((place) => place.test(at)) ? [] : [`${at}: any value`]
    case 'literal':
    case 'enum':
    case 'boolean':
    case 'null':
    case 'never':
      return []
    default:
      return [`${at}: ${def.type}, which this test does not know`]
  }
}

function pipe(def: { in: Schema; out: Schema }, schema: Schema, at: string): string[] {
  // Checked, then changed.
  if (def.out._zod.def.type === 'transform') return unboundedIn(def.in, at)
  if (def.in._zod.def.type !== 'transform') return [...unboundedIn(def.in, at), ...unboundedIn(def.out, at)]
  if (def.out._zod.def.type !== 'record') return unboundedIn(def.out, at)
  // A boundedRecord says its bound, and counts before it looks.
  const { keyType, valueType } = def.out._zod.def as unknown as { keyType: Schema; valueType: Schema }
  const { maxProperties } = getOpenApiMetadata(schema as z.ZodType) as { maxProperties?: number }
  return [
    ...(maxProperties === undefined ? [`${at}: a record`] : []),
    ...unboundedIn(keyType, `${at}{}`),
    ...unboundedIn(valueType, `${at}.*`),
  ]
}

interface Route {
  readonly method: string
  readonly path: string
  readonly request?: {
    readonly params?: Schema
    readonly query?: Schema
    readonly headers?: Schema
    readonly body?: { readonly content: Readonly<Record<string, { readonly schema: Schema | object }>> }
  }
}

/** Every schema that a route of the app has for its requests. */
function schemasOf({ method, path, request = {} }: Route): [place: string, schema: Schema][] {
  const { params, query, headers, body } = request
  const bodies = Object.entries(body?.content ?? {}).map(([type, { schema }]) => [type, schema] as const)
  return [
    ['params', params] as const,
    ['query', query] as const,
    ['headers', headers] as const,
    ...bodies,
  ].flatMap(([part, schema]): [string, Schema][] =>
    // A payload is no schema: its bytes are bounded as they are read.
    schema && '_zod' in schema ? [[`${method} ${path} ${part}`, schema as Schema]] : [],
  )
}

const settings = settingsFor('ws://127.0.0.1:1')
const metrics = createMetrics({ version: '0', host: 'node', runtime: 'test' })
const app = createApp(
  createDependencies(settings, {
    host: 'node',
    metrics,
    openSession: () => {
      throw new Error('Nobody asks.')
    },
    writeLine: () => undefined,
  }),
)
const routes = app.openAPIRegistry.definitions.flatMap((definition) =>
  definition.type === 'route' ? [definition.route as unknown as Route] : [],
)
/** What handlers parse by themselves. */
const byHand: [string, Schema][] = Object.entries({
  acksSchema,
  batchSchema,
  cloudEventSchema,
  eventsSchema,
  looseBatchSchema,
  outgoingSchema,
  publishHeaders,
})

describe('the schema of a request', () => {
  it('is found for every operation that has one', () => {
    expect(routes.length).toBeGreaterThan(20)
    expect(routes.flatMap(schemasOf).length).toBeGreaterThan(30)
  })

  it.each([
    ['an array', z.array(z.boolean())],
    ['a string', z.string().regex(/^a+$/)],
    ['a string', z.union([z.boolean(), z.string()])],
    ['a number', z.object({ a: z.number().min(1).optional() })],
    ['a record', z.record(z.string().max(1), z.boolean())],
    ['any value', z.looseObject({})],
  ])('is noticed where it has none: %s', (what, schema) => {
    expect(unboundedIn(schema, 'here')).toEqual([expect.stringContaining(what)])
  })

  it.each([...routes.flatMap(schemasOf), ...byHand])('has a bound at every place: %s', (place, schema) => {
    expect(unboundedIn(schema, place)).toEqual([])
  })
})
