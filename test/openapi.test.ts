/** The published contract: every operation is explained and shown by example, and the page has all of it. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ERRORS } from '../src/errors.ts'
import { renderDocumentation } from '../src/routes/docs-page.ts'

type Json = Readonly<Record<string, unknown>>

interface Media {
  readonly schema?: Json
  readonly examples?: Readonly<Record<string, { readonly $ref?: string }>>
}

interface Answer {
  readonly $ref?: string
  readonly content?: Readonly<Record<string, Media>>
}

interface Operation {
  readonly operationId: string
  readonly summary?: string
  readonly description?: string
  readonly tags?: readonly string[]
  readonly parameters?: readonly { readonly name: string; readonly description?: string }[]
  readonly requestBody?: Answer
  readonly responses: Readonly<Record<string, Answer>>
}

interface Document {
  readonly info: { readonly description: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: {
    readonly schemas: Readonly<Record<string, Json>>
    readonly responses: Readonly<Record<string, Answer>>
    readonly examples: Readonly<Record<string, { readonly value: Json }>>
  }
}

const document = JSON.parse(
  readFileSync(new URL('../openapi/openapi.json', import.meta.url), 'utf8'),
) as Document
const { paths, components } = document
const operations = Object.values(paths).flatMap((methods) => Object.values(methods))
const codes = Object.keys(ERRORS)

const PROBLEM = 'application/problem+json'
/** What an operation may begin with. */
const VERBS = [
  'create',
  'delete',
  'get',
  'list',
  'pause',
  'publish',
  'pull',
  'purge',
  'push',
  'put',
  'read',
  'reset',
  'resume',
  'settle',
  'update',
]

const resolve = (answer: Answer): Answer =>
  answer.$ref === undefined ? answer : (components.responses[answer.$ref.split('/').at(-1) ?? ''] ?? {})

const problemCodes = (answer: Answer) => Object.keys(resolve(answer).content?.[PROBLEM]?.examples ?? {})

describe.each(operations.map((operation) => [operation.operationId, operation] as const))(
  '%s',
  (id, operation) => {
    it('is a verb and a noun', () => {
      expect(id).toMatch(new RegExp(`^(${VERBS.join('|')})([A-Z][a-z]+)+$`))
    })

    it('has a summary, a description and one tag', () => {
      expect(operation.summary).toMatch(/\w+/)
      expect(operation.description).toMatch(/\w.*\.$/)
      expect(operation.tags).toHaveLength(1)
    })

    it('has an example for each body that it takes or gives', () => {
      const bodies = [operation.requestBody ?? {}, ...Object.values(operation.responses).map(resolve)]
      const media = bodies.flatMap(({ content = {} }) => Object.entries(content))

      expect(media.filter(([, { examples = {} }]) => Object.keys(examples).length === 0)).toEqual([])
    })

    it('declares each failure under the status of its code', () => {
      const declared = Object.entries(operation.responses).flatMap(([status, answer]) =>
        problemCodes(answer).map((code) => [code, status]),
      )

      expect(declared).toEqual(
        declared.map(([code]) => [code, String(ERRORS[code as keyof typeof ERRORS].status)]),
      )
      expect(declared.map(([code]) => code)).toEqual(expect.arrayContaining(['invalid_request', 'internal']))
    })
  },
)

describe('the contract', () => {
  it('names no operation twice', () => {
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length)
  })

  it('has every code in an operation or explains it at the top', () => {
    const declared = new Set(
      operations.flatMap(({ responses }) => Object.values(responses).flatMap(problemCodes)),
    )

    expect(
      codes.filter((code) => !declared.has(code) && !document.info.description.includes(`\`${code}\``)),
    ).toEqual([])
  })

  it('shows each problem as the error table has it', () => {
    for (const code of codes.filter((name) => name in components.examples)) {
      const { status, title, retryable, sideEffects } = ERRORS[code as keyof typeof ERRORS]
      expect(components.examples[code]?.value).toMatchObject({
        type: `/docs#${code}`,
        code,
        status,
        title,
        retryable,
        side_effects: sideEffects,
      })
    }
  })

  it('describes every schema and every field', () => {
    expect(undescribed(Object.entries(components.schemas))).toEqual([])
  })
})

/** The paths of schemas and fields without a word on what they are; what refers to another is described there. */
function undescribed(schemas: readonly (readonly [string, unknown])[]): string[] {
  return schemas.flatMap(([path, value]) => {
    const schema = value as Json
    const inside = (schema.items ?? {}) as Json
    const fields = Object.entries({ ...(schema.properties as Json), ...(inside.properties as Json) })
    const described = schema.description ?? schema.$ref ?? schema.allOf
    return [
      ...(described === undefined ? [path] : []),
      ...undescribed(fields.map(([name, field]) => [`${path}.${name}`, field])),
    ]
  })
}

describe('the page', () => {
  const page = renderDocumentation(document)
  const anchors = [...page.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id)

  it('has an anchor for each code, operation and schema, and none twice', () => {
    const expected = [
      ...codes,
      ...operations.map(({ operationId }) => operationId),
      ...Object.keys(components.schemas).map((name) => `schema-${name}`),
    ]

    expect(expected.filter((id) => !anchors.includes(id))).toEqual([])
    expect(new Set(anchors).size).toBe(anchors.length)
  })

  it('leads nowhere that is not there', () => {
    const links = [...page.matchAll(/\shref="([^"]*)"/g)].map(([, link = '']) => link)

    expect(links.filter((link) => link !== '/openapi.json' && !anchors.includes(link.slice(1)))).toEqual([])
  })

  it('needs no script and nothing from elsewhere', () => {
    expect(page).not.toMatch(
      /<script|<link|<img|<iframe|\son\w+=|\ssrc=|@import|url\(|https?:\/\/(?!127\.0\.0\.1|sluice\.example\.com)/i,
    )
  })

  it('escapes whatever the document says', () => {
    const evil = '<img src=x onerror=alert(1)>"\'&'
    const poisoned = JSON.parse(
      JSON.stringify(document, (key, value) =>
        typeof value === 'string' && !['$ref', 'in'].includes(key) ? value + evil : value,
      ),
    ) as unknown

    expect(renderDocumentation(poisoned)).not.toContain('<img')
  })
})
