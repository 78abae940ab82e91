/** The published contract: writes openapi.json from the routes; with --check it fails where the file differs. */
import { readFileSync, writeFileSync } from 'node:fs'
import { createApp } from '../src/app.ts'
import { createDependencies } from '../src/bridge.ts'
import { createMetrics } from '../src/metrics.ts'
import { writeContract } from '../src/routes/contract.ts'
import { readSettings } from '../src/settings.ts'

const FILE = new URL('openapi.json', import.meta.url)

function generate(): string {
  const settings = readSettings({
    AUTH: 'nats',
    NATS_URL: 'ws://127.0.0.1:8080',
    TOKEN_KEYS: `k1:${'A'.repeat(43)}`,
  })
  const openSession = () => {
    throw new Error('Nothing is asked while the contract is written.')
  }
  const metrics = createMetrics({})
  const app = createApp(
    createDependencies(settings, { host: 'node', metrics, openSession, writeLine: () => {} }),
  )
  return `${JSON.stringify(writeContract(app), null, 2)}\n`
}

const generated = generate()
if (!process.argv.includes('--check')) {
  writeFileSync(FILE, generated)
  console.log('openapi/openapi.json is written.')
} else if (readFileSync(FILE, 'utf8') !== generated) {
  console.error('openapi/openapi.json is not what the routes say. Run: npm run openapi')
  process.exit(1)
}
