/** `.dev.vars` of a clone, from which `wrangler dev` has its settings and secrets: written where there is none. */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './paths.ts'
import { freePort } from './ports.ts'

const PATH = join(ROOT, '.dev.vars')
/** A file that begins so is ours, and so is the nats-server that it names. */
const MARK =
  '# Written by scripts/dev-vars.ts for `wrangler dev`. Change it as you like; without this line no nats-server is started.'

const content = (port: number): string => `${MARK}
AUTH=none
LOOPBACK_ONLY=true
NATS_URL=ws://127.0.0.1:${port}
TOKEN_KEYS=dev:${randomBytes(32).toString('base64url')}
`

/**
 * The port on which a nats-server of ours is wanted, undefined where the settings are the user's own. `written`: the file
 * was made just now.
 */
export const readDevVars = async (): Promise<{ natsPort: number | undefined; written: boolean }> => {
  // wrangler reads one of these where there is no .dev.vars.
  if (['.env', '.env.local'].some((name) => existsSync(join(ROOT, name))) && !existsSync(PATH))
    return { natsPort: undefined, written: false }
  const written = !existsSync(PATH)
  if (written) writeFileSync(PATH, content(await freePort()), { mode: 0o600 })
  const text = readFileSync(PATH, 'utf8')
  const port = Number(/^NATS_URL=ws:\/\/127\.0\.0\.1:(\d+)$/m.exec(text)?.[1])
  return { natsPort: text.startsWith(MARK) && port > 0 ? port : undefined, written }
}
