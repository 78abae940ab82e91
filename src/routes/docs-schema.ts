/** How the documentation page shows a schema: its type in a word, its limits, its fields as rows. */
import { html } from 'hono/html'

/** A piece of the page; whatever was put into it is escaped. */
export type Fragment = ReturnType<typeof html>

/** What the page reads of a JSON Schema. */
export interface Schema {
  readonly $ref?: string
  readonly allOf?: readonly Schema[]
  readonly anyOf?: readonly Schema[]
  readonly type?: string | readonly string[]
  readonly format?: string
  readonly contentEncoding?: string
  readonly enum?: readonly unknown[]
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | Schema
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly pattern?: string
  readonly default?: unknown
  readonly example?: unknown
  readonly description?: string
}

/** One field, parameter or header, as a row of a table. */
export interface Row {
  readonly name: string
  readonly required: boolean
  readonly schema: Schema
  readonly description?: string | undefined
}

/** Paragraphs, with what stands in backticks as code. */
export function prose(text = ''): Fragment[] {
  return text.split(/\n{2,}/).map((paragraph) => html`<p>${inline(paragraph)}</p>`)
}

/** One line of text, with what stands in backticks as code. */
export function inline(text = ''): Fragment[] {
  return text.split('`').map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : html`${part}`))
}

/** The last part of a `$ref`. */
export const nameOf = (reference: string) => reference.split('/').at(-1) ?? reference

/** A schema in a few words, such as "array of Message". */
export function typeOf(schema: Schema): Fragment {
  const [first] = schema.allOf ?? []
  if (first) return typeOf(first)
  if (schema.$ref) return html`<a href="#schema-${nameOf(schema.$ref)}">${nameOf(schema.$ref)}</a>`
  if (schema.anyOf) return joined(schema.anyOf.map(typeOf), ' or ')
  if (schema.enum) {
    return joined(
      schema.enum.map((value) => html`<code>${value}</code>`),
      ' or ',
    )
  }
  if (schema.type === 'array') return html`array of ${typeOf(schema.items ?? {})}`
  if (typeof schema.additionalProperties === 'object')
    return html`map to ${typeOf(schema.additionalProperties)}`
  const format = schema.format ?? schema.contentEncoding
  return html`${[schema.type ?? 'any value'].flat().join(' or ')}${format ? ` (${format})` : ''}`
}

/** Schemas by name, as the document has them. */
export type Schemas = Readonly<Record<string, Schema>>

/** The fields of an object, those of objects inside it by their path; what has a name is shown under that. */
export function rowsOf(schemas: Schemas, schema: Schema, prefix = ''): Row[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, field]) => {
    const name = prefix + key
    const required = schema.required?.includes(key) ?? false
    const row = { name, required, schema: field, description: descriptionOf(schemas, field) }
    return [row, ...rowsOf(schemas, field, `${name}.`), ...rowsOf(schemas, field.items ?? {}, `${name}[].`)]
  })
}

export function renderRows(title: string, rows: readonly Row[]): Fragment {
  if (rows.length === 0) return html``
  return html`<table>
<thead><tr><th scope="col">${title}</th><th scope="col">Type</th><th scope="col">Meaning</th></tr></thead>
<tbody>${rows.map(renderRow)}</tbody></table>`
}

function renderRow({ name, required, schema, description }: Row): Fragment {
  return html`<tr>
<th scope="row"><code>${name}</code>${required ? html` <em>required</em>` : ''}</th>
<td>${typeOf(schema)}${limitsOf(schema).map((limit) => html`<small>${limit}</small>`)}</td>
<td>${inline(description)}</td></tr>`
}

/** The schema's own description, or else that of what it refers to. */
function descriptionOf(schemas: Schemas, { description, allOf = [], $ref = '' }: Schema): string | undefined {
  const others = allOf.map((part) => part.description ?? '').filter((text) => text !== '')
  return description ?? others[0] ?? schemas[nameOf($ref)]?.description
}

function limitsOf(schema: Schema): string[] {
  const { minLength, maxLength, minItems, maxItems, pattern } = schema
  return [
    range(schema.minimum, schema.maximum, ''),
    range(minLength, maxLength, ' characters'),
    range(minItems, maxItems, ' items'),
    pattern === undefined ? '' : `matches ${pattern}`,
    schema.default === undefined ? '' : `default ${written(schema.default)}`,
    schema.example === undefined || schema.enum ? '' : `such as ${written(schema.example)}`,
  ].filter((limit) => limit !== '')
}

/** Zero as the smallest, and the largest safe integer, are no news to a reader. */
function range(smallest: number | undefined, largest = Number.MAX_SAFE_INTEGER, unit: string): string {
  const bounded = largest < Number.MAX_SAFE_INTEGER
  if (smallest !== undefined && bounded) return `${number(smallest)} to ${number(largest)}${unit}`
  if (bounded) return `at most ${number(largest)}${unit}`
  return smallest === undefined || smallest === 0 ? '' : `at least ${number(smallest)}${unit}`
}

const written = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))

const number = (value: number) => value.toLocaleString('en-US')

function joined(parts: readonly Fragment[], separator: string): Fragment {
  return html`${parts.map((part, index) => (index === 0 ? part : html`${separator}${part}`))}`
}
