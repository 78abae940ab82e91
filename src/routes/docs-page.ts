/** The documentation page: the OpenAPI document as plain HTML, without scripts. */
import { html, raw } from 'hono/html'
import { ERRORS } from '../errors.ts'
import { type Endpoint, type OpenApiDocument, renderMethod, renderOperation } from './docs-operation.ts'
import { type Fragment, inline, prose, renderRows, rowsOf, type Schemas, typeOf } from './docs-schema.ts'
import { STYLE } from './docs-style.ts'

/** The whole page. `contract`: the OpenAPI document that `openapi/generate.ts` writes. */
export function renderDocumentation(contract: unknown): string {
  const document = contract as OpenApiDocument
  const sections = document.tags.map((tag) => ({
    ...tag,
    endpoints: endpointsOf(document).filter(({ tags }) => tags.includes(tag.name)),
  }))
  const { schemas } = document.components
  const { title, description } = document.info
  return String(html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}: the HTTP contract</title>
<style>${raw(STYLE)}</style>
</head>
<body>
<nav aria-label="Contents">
<p class="title"><a href="#top">${title}</a></p>
${sections.map(renderContents)}
<p><a href="#schemas">Schemas</a></p>
<p><a href="#problems">Problems</a></p>
</nav>
<main id="top">
<header><h1>${title}</h1>
${prose(description)}
<p>Every answer carries <code>X-Request-Id</code>: the one of the request where it is sane, else a new one.
The same as a document for client generators: <a href="${document.servers[0]?.url ?? '/'}openapi.json">openapi.json</a>.
To try the commands below, say where the bridge is; where callers have credentials, give curl <code>-u USER:PASSWORD</code>:</p>
<pre><code>SLUICE=http://127.0.0.1:8787</code></pre></header>
${sections.map((section) => renderSection(document, section))}
<section id="schemas"><h2>Schemas</h2>${Object.keys(schemas)
    .sort()
    .map((name) => renderSchema(schemas, name))}</section>
${renderProblems()}
</main>
</body>
</html>
`)
}

interface Section {
  readonly name: string
  readonly description: string
  readonly endpoints: readonly Endpoint[]
}

function endpointsOf({ paths }: OpenApiDocument): Endpoint[] {
  return Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ ...operation, method, path })),
  )
}

const idOf = ({ name }: Section) => `tag-${name.replaceAll(' ', '-')}`

function renderContents(section: Section): Fragment {
  const items = section.endpoints.map(
    ({ operationId, method, summary }) =>
      html`<li><a href="#${operationId}">${renderMethod(method)} ${summary}</a></li>`,
  )
  return html`<p><a href="#${idOf(section)}">${section.name}</a></p><ul>${items}</ul>`
}

function renderSection(document: OpenApiDocument, section: Section): Fragment {
  return html`<section id="${idOf(section)}"><h2>${section.name}</h2>${prose(section.description)}
${section.endpoints.map((endpoint) => renderOperation(document, endpoint))}</section>`
}

function renderSchema(schemas: Schemas, name: string): Fragment {
  const schema = schemas[name] ?? {}
  return html`<article id="schema-${name}"><h3>${name}</h3>${prose(schema.description)}
${schema.anyOf ? html`<p>One of ${typeOf(schema)}.</p>` : renderRows('Field', rowsOf(schemas, schema))}</article>`
}

/** Every code a failure can carry. A problem's `type` leads to its row. */
function renderProblems(): Fragment {
  const rows = Object.entries(ERRORS).map(
    ([code, { status, title, retryable, sideEffects }]) => html`<tr id="${code}">
<th scope="row"><code>${code}</code></th><td>${status}</td><td>${title}</td>
<td data-label="retryable">${retryable ? 'yes' : 'no'}</td>
<td data-label="side_effects">${sideEffects}</td></tr>`,
  )
  return html`<section id="problems"><h2>Problems</h2>
${prose(PROBLEMS)}
<table class="codes"><thead><tr><th scope="col">${inline('`code`')}</th><th scope="col">Status</th>
<th scope="col">Title</th><th scope="col">${inline('`retryable`')}</th>
<th scope="col">${inline('`side_effects`')}</th></tr></thead><tbody>${rows}</tbody></table></section>`
}

const PROBLEMS =
  'Every failure is `application/problem+json` with one of these codes, and the code alone fixes what stands beside it. ' +
  '`retryable`: the very same request is safe to send again and can succeed. `side_effects` is `possible` where the request ' +
  'may have taken effect although it failed.'
