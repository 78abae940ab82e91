/** Zod as schemas are written in it, with `.openapi()`. Imported as a namespace, of which a bundler keeps what is used. */
import '@hono/zod-openapi'

export * from 'zod'
