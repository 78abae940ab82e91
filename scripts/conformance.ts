/** `npm run conformance -- URL`: the black-box suite against an instance that runs anywhere. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { ROOT } from './paths.ts'

const [url, ...vitestArguments] = process.argv.slice(2).filter((argument) => argument !== '--')

if (!url || !/^https?:\/\//.test(url)) {
  console.error('usage: npm run conformance -- http://host:port   (SLUICE_AUTH, if set, is used to sign in)')
  process.exit(1)
}

const vitest = join(ROOT, 'node_modules', '.bin', 'vitest')
const child = spawn(vitest, ['run', 'test/contract', ...vitestArguments], {
  cwd: ROOT,
  stdio: 'inherit',
  env: { ...process.env, SLUICE_URL: url.replace(/\/+$/, '') },
})
process.on('SIGTERM', () => void child.kill('SIGTERM'))
// A terminal's Ctrl-C reaches vitest as well, which ends in its own time.
process.on('SIGINT', () => {})
child.on('exit', (code) => process.exit(code ?? 1))
