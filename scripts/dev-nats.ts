/** The nats-server of `wrangler dev`: it runs as long as wrangler does, and keeps its store in .sluice/dev. */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { claimDataDir } from './data-dir.ts'
import { natsFiles, runNatsServer } from './nats-process.ts'
import { getNatsServer } from './nats-server.ts'
import { CACHE } from './paths.ts'
import { freePort } from './ports.ts'

const PARENT_CHECK_MS = 250

const [websocket = 0, wrangler = 0] = process.argv.slice(2).map(Number)

const runs = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

const dataDir = join(CACHE, 'dev')
const release = await claimDataDir(dataDir)
const { path } = await getNatsServer('current')
const server = await runNatsServer({
  program: path,
  ports: { client: await freePort(), websocket },
  logPath: join(dataDir, 'nats.log'),
  ...natsFiles(dataDir),
})
while (runs(wrangler) && !server.hasEnded()) await delay(PARENT_CHECK_MS)
await server.stop()
release()
