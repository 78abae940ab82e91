/** Requests that are wrong in every way: how they are framed, what they hold, and how they are addressed. */
import { ADDRESSING } from './bad-addressing.ts'
import { CONTENT } from './bad-contents.ts'
import { COMPRESSION, FRAMING } from './bad-framing.ts'
import type { BadKind } from './bad-request.ts'

export const BAD_KINDS: readonly BadKind[] = [...FRAMING, ...COMPRESSION, ...CONTENT, ...ADDRESSING]
