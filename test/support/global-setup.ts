/** What is made once before all test files: the nats-servers are fetched and the Worker is built. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LOGS } from '../../scripts/paths.ts'
import { getWorkerBundle } from '../../scripts/worker-bundle.ts'
import { HOSTS } from './host.ts'
import { prepareNatsLines } from './nats.ts'

const OLD_MS = 24 * 60 * 60 * 1_000

const removeOldLogs = (): void => {
  mkdirSync(LOGS, { recursive: true })
  for (const name of readdirSync(LOGS)) {
    const path = join(LOGS, name)
    const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0)
    if (age > OLD_MS) rmSync(path, { recursive: true, force: true })
  }
}

/** Answers the tear-down. */
export default async (): Promise<() => void> => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-test-'))
  process.env.SLUICE_TEST_FOLDER = folder
  const tearDown = () => rmSync(folder, { recursive: true, force: true })
  // Against an instance that runs elsewhere nothing is started here.
  if (process.env.SLUICE_URL) return tearDown
  removeOldLogs()
  await prepareNatsLines()
  if (HOSTS.includes('workerd')) await getWorkerBundle()
  return tearDown
}
