/** The contract as the bridge serves it: the document, and a page that people can read. */
import { createHash } from 'node:crypto'
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { answer } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import { createRouter, noQuery } from '../router.ts'
import { MAX_PASSED_CHARS } from '../schemas/bounds.ts'
import { examplesOf, json } from '../schemas/examples.ts'
import { problemsOf } from '../schemas/problem.ts'
import * as z from '../schemas/zod.ts'
import { declared } from './answers.ts'
import type { Contract } from './contract.ts'
import { renderDocumentation } from './docs-page.ts'
import { isKnown } from './entity-tags.ts'

const documentSchema = z.looseObject({
  openapi: z.string().openapi({ description: 'The version of OpenAPI it is written in.' }),
})

const conditional = z.object({
  'if-none-match': z
    .string()
    .max(MAX_PASSED_CHARS)
    .optional()
    .openapi({ description: 'An `ETag` seen before.' }),
})
const etagHeader = z.object({
  ETag: z.string().openapi({ description: 'Changes with what is answered.' }),
})
const unchanged = { description: 'Unchanged since the `ETag` in `If-None-Match`.' }

const documentRoute = createRoute({
  method: 'get',
  path: '/openapi.json',
  operationId: 'getOpenApiDocument',
  tags: ['Around it'],
  summary: 'This contract',
  description: 'OpenAPI 3.1, for client generators.',
  security: [],
  request: { query: noQuery, headers: conditional },
  responses: {
    200: {
      description: 'The document.',
      headers: etagHeader,
      content: json(documentSchema, 'document'),
    },
    304: unchanged,
    ...problemsOf(['invalid_request', 'forbidden', 'internal']),
  },
})

const documentationRoute = createRoute({
  method: 'get',
  path: '/docs',
  operationId: 'getDocumentation',
  tags: ['Around it'],
  summary: 'This contract as a page',
  description: 'Every operation, with its parameters, answers and failures.',
  security: [],
  request: { query: noQuery, headers: conditional },
  responses: {
    200: {
      description: 'The page.',
      headers: etagHeader,
      content: { 'text/html': { schema: z.string(), examples: examplesOf('documentation') } },
    },
    304: unchanged,
    ...problemsOf(['invalid_request', 'forbidden', 'internal']),
  },
})

/** What one text of the contract is known by, and what is said of it each time. */
interface Document {
  readonly text: string
  readonly etag: string
  readonly headers: Readonly<Record<string, string>>
}

function documentOf(text: string, headers: Readonly<Record<string, string>>): Document {
  const etag = `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"`
  return { text, etag, headers: { ...headers, 'Cache-Control': 'no-cache', ETag: etag } }
}

function answerDocument(c: Context<AppEnv>, { text, etag, headers }: Document): Response {
  if (isKnown(c.req.header('If-None-Match'), etag)) return answer(c, null, { status: 304, headers })
  return answer(c, text, { headers })
}

const PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

/** The routes of the contract. `write` is asked when the first client wants it: a start would wait for it. */
export function createDocumentation(write: () => Contract) {
  let written: Contract | undefined
  let document: Document | undefined
  let page: Document | undefined
  const contract = () => {
    written ??= write()
    return written
  }
  return createRouter()
    .openapi(documentRoute, (c) => {
      document ??= documentOf(JSON.stringify(contract()), { 'Content-Type': 'application/json' })
      return declared(answerDocument(c, document))
    })
    .openapi(documentationRoute, (c) => {
      page ??= documentOf(String(renderDocumentation(contract())), {
        'Content-Type': 'text/html; charset=UTF-8',
        'Content-Security-Policy': PAGE_POLICY,
      })
      return declared(answerDocument(c, page))
    })
    .get('/', (c) => c.redirect(`${c.get('dependencies').publicAddress.path}/docs`, 302))
}
