/** A copy of the repository as a clone has it, for what writes into its folder. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { CACHE, ROOT } from '../../scripts/paths.ts'

/** What git ignores, and git's own. */
const LEFT_OUT = ['.git', 'node_modules', '.sluice', '.wrangler', '.dev.vars', 'dist']

/** Makes a clone without dependencies, which knows the nats-server that is cached here. The caller removes it. */
export function makeClone(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-clone-'))
  cpSync(ROOT, folder, { recursive: true, filter: (path) => !LEFT_OUT.includes(basename(path)) })
  mkdirSync(join(folder, '.sluice'))
  const servers = join(CACHE, 'nats-server')
  if (existsSync(servers)) symlinkSync(servers, join(folder, '.sluice', 'nats-server'))
  return folder
}
