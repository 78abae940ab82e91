/** What README.md says of a NATS with users of one's own: its configuration and commands as they stand, on other ports. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { getNatsServer } from '../../scripts/nats-server.ts'
import { freePorts } from '../../scripts/ports.ts'
import { run, type Server, startServer, waitUntilReady } from '../../scripts/processes.ts'
import { HOSTS } from '../support/host.ts'
import { readBlocks, withoutChance } from './readme.ts'
import { type Started, startSluice } from './started.ts'

const START_MS = 90_000
const HEADING = 'With users of your own'

describe.each(HOSTS)('AUTH=nats and a NATS with users on %s', (host) => {
  let folder: string
  let nats: Server
  let started: Started
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-users-'))
    const [client = 0, websocket = 0] = await freePorts(2)
    const [configuration = ''] = readBlocks(HEADING, 'conf')
    const configPath = join(folder, 'nats.conf')
    writeFileSync(configPath, configuration.replace(':4222', `:${client}`).replace(':8443', `:${websocket}`))
    const logPath = join(folder, 'nats.log')
    const { path: command } = await getNatsServer('current')
    nats = await startServer({ name: 'nats-server', command, args: ['-c', configPath], cwd: folder, logPath })
    await waitUntilReady(nats, () => readFileSync(logPath, 'utf8').includes('Server is ready') || 'not ready')
    started = await startSluice(host, { AUTH: 'nats', NATS_URL: `ws://127.0.0.1:${websocket}` })
    await started.says('Sluice is ready at')
  }, START_MS)
  afterAll(async () => {
    await started?.stop()
    await nats?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test('answer as README.md shows', async () => {
    const commands = readBlocks(HEADING, 'sh').at(-1) ?? ''
    const { stdout } = await run('bash', ['-c', commands.replaceAll('http://127.0.0.1:8787', started.url)])
    expect(withoutChance(stdout)).toBe(withoutChance(readBlocks(HEADING, 'text')[0] ?? ''))
  })
})
