/** Owns the published contract: writes openapi.json from the routes; with --check it fails where the file differs. */
import { readFileSync, writeFileSync } from 'node:fs'
import { createApp } from '../src/app.ts'
import { createDependencies } from '../src/bridge.ts'
import { problemExamples } from '../src/schemas/problem.ts'
import { readSettings } from '../src/settings.ts'

const FILE = new URL('openapi.json', import.meta.url)

const description = `NATS JetStream behind HTTP: publish, read, pull and acknowledge from any language that can make a request.

Positions travel in cursors and deliveries in ack tokens, both opaque, so any instance answers any request. Every failure
is an RFC 9457 problem whose \`code\` is the promise; \`retryable\` says whether the same request may be sent again.
Unknown query parameters and unknown JSON fields are refused.`

function generate(): string {
  const settings = readSettings({
    AUTH: 'nats',
    NATS_URL: 'ws://127.0.0.1:8080',
    TOKEN_KEYS: `k1:${'A'.repeat(43)}`,
  })
  const openSession = () => {
    throw new Error('Nothing is asked while the contract is written.')
  }
  const app = createApp(createDependencies(settings, { openSession, noticesDisconnects: true }))
  app.openAPIRegistry.registerComponent('securitySchemes', 'natsUser', {
    type: 'http',
    scheme: 'basic',
    description: 'A NATS user and password.',
  })
  app.openAPIRegistry.registerComponent('securitySchemes', 'natsToken', {
    type: 'http',
    scheme: 'bearer',
    description: 'A NATS token.',
  })
  for (const [code, example] of problemExamples)
    app.openAPIRegistry.registerComponent('examples', code, example)
  const document = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Sluice',
      version: '1',
      description,
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    servers: [{ url: '/', description: 'This bridge.' }],
    security: [{ natsUser: [] }, { natsToken: [] }, {}],
    tags: [
      { name: 'Publish', description: 'Messages in.' },
      { name: 'Read', description: 'Messages out, by cursor: no consumer, nothing kept on the server.' },
      { name: 'Consumers', description: 'Shared work: durable consumers, pulls and acknowledgements.' },
      { name: 'Browsers', description: 'Tickets for EventSource.' },
      { name: 'Streams', description: 'Where messages are kept.' },
      { name: 'Around it', description: 'Health, capabilities and this contract.' },
    ],
  })
  return `${JSON.stringify(document, null, 2)}\n`
}

const generated = generate()
if (!process.argv.includes('--check')) {
  writeFileSync(FILE, generated)
  console.log('openapi/openapi.json is written.')
} else if (readFileSync(FILE, 'utf8') !== generated) {
  console.error('openapi/openapi.json is not what the routes say. Run: npm run openapi')
  process.exit(1)
}
