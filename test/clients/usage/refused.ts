/** What must not compile: the generated types are as strict as the contract. */
import type { PullMessagesData, ReadMessagesData } from '../../../.sluice/clients/hey-api/types.gen.js'
import type { components, operations } from '../../../.sluice/clients/openapi-typescript.d.ts'

// @ts-expect-error: the contract has no such code
export const code: components['schemas']['Problem']['code'] = 'out_of_milk'

// @ts-expect-error: an event of a name that no stream sends
export const event: components['schemas']['TailEvent']['event'] = 'milk'

// @ts-expect-error: a query parameter of another kind
export const query: operations['readMessages']['parameters']['query'] = { limit: 'many' }

// @ts-expect-error: a stream has to be named
export const path: ReadMessagesData['path'] = {}

// @ts-expect-error: a field that the contract does not know
export const body: PullMessagesData['body'] = { batch: 1, milk: true }
