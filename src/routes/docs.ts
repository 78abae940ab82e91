/** Owns the contract as the bridge serves it: the document, and a page that people can read. */
import { createRoute } from '@hono/zod-openapi'
import { createRouter, noQuery } from '../router.ts'
import { examplesOf, json } from '../schemas/examples.ts'
import { problemsOf } from '../schemas/problem.ts'
import * as z from '../schemas/zod.ts'
import type { Contract } from './contract.ts'
import { renderDocumentation } from './docs-page.ts'

const documentSchema = z.looseObject({
  openapi: z.string().openapi({ description: 'The version of OpenAPI it is written in.' }),
})

const documentRoute = createRoute({
  method: 'get',
  path: '/openapi.json',
  operationId: 'getOpenApiDocument',
  tags: ['Around it'],
  summary: 'This contract',
  description: 'OpenAPI 3.1, for client generators.',
  security: [],
  request: { query: noQuery },
  responses: {
    200: {
      description: 'The document.',
      content: json(documentSchema, 'document'),
    },
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
  request: { query: noQuery },
  responses: {
    200: {
      description: 'The page.',
      content: { 'text/html': { schema: z.string(), examples: examplesOf('documentation') } },
    },
    ...problemsOf(['invalid_request', 'forbidden', 'internal']),
  },
})

const CACHE = 'public, max-age=300'

/** The routes of the contract. `write` is asked when the first client wants it: a start would wait for it. */
export function createDocumentation(write: () => Contract) {
  let written: Contract | undefined
  let page: string | undefined
  const contract = () => {
    written ??= write()
    return written
  }
  return createRouter()
    .openapi(documentRoute, (c) => {
      c.header('Cache-Control', CACHE)
      return c.json(contract(), 200)
    })
    .openapi(documentationRoute, (c) => {
      page ??= renderDocumentation(contract())
      c.header('Cache-Control', CACHE)
      c.header(
        'Content-Security-Policy',
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
      )
      return c.html(page)
    })
    .get('/', (c) => c.redirect('/docs', 302))
}
