/**
 * What stands for `zod` in the Worker's bundle, by `[alias]` in wrangler.toml: the same, without `z` as a value.
 * esbuild keeps all of a namespace that is passed around, and @hono/zod-openapi passes `z` around: 470 KB, with error
 * messages in 50 languages, for one class. Can go when it no longer does, or when esbuild sees through it (zod issue 6597).
 */
import { ZodType } from 'zod/v4'

export * from 'zod/v4'
export const z = { ZodType }
