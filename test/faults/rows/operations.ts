/** The operations of the published contract, as rows that try all of them send them. */
import document from '../../../openapi/openapi.json' with { type: 'json' }
import { type Contract, createContract } from '../../contract/contract.ts'

export interface Operation {
  readonly id: string
  readonly method: string
  /** With its parameters in braces. */
  readonly template: string
  /** Media types of its body; none where it takes no body. */
  readonly bodyTypes: readonly string[]
  readonly queryNames: readonly string[]
  readonly headerNames: readonly string[]
}

interface Described {
  readonly operationId?: string
  readonly requestBody?: { readonly content: Readonly<Record<string, unknown>> }
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
}

const METHODS = ['get', 'post', 'put', 'delete'] as const

const namesOf = ({ parameters = [] }: Described, place: string) =>
  parameters.filter((one) => one.in === place).map(({ name }) => name)

/** All there are, in the order of the document. */
export const OPERATIONS: readonly Operation[] = Object.entries(
  document.paths as Readonly<Record<string, Readonly<Partial<Record<(typeof METHODS)[number], Described>>>>>,
).flatMap(([template, described]) =>
  METHODS.flatMap((method) => {
    const operation = described[method]
    if (!operation?.operationId) return []
    return {
      id: operation.operationId,
      method: method.toUpperCase(),
      template,
      bodyTypes: Object.keys(operation.requestBody?.content ?? {}),
      queryNames: namesOf(operation, 'query'),
      headerNames: namesOf(operation, 'header'),
    }
  }),
)

export const contract: Contract = createContract(document)

/** The names that stand in a path. */
export interface Names {
  readonly stream: string
  readonly consumer: string
  readonly subject: string
  readonly seq?: number
}

/** The path of an operation on something. */
export function pathOf({ template }: Pick<Operation, 'template'>, names: Names): string {
  const values: Readonly<Record<string, string>> = {
    ...names,
    stream_name: names.stream,
    seq: String(names.seq ?? 1),
  }
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? ''))
}
