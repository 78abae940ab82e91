/** A failure that nothing waits for is told in the log and in the figures, and ends no host. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const SCRIPT = `
  import { outliveRejections } from './src/hosts/process.ts'
  import { createLog } from './src/log.ts'
  import { createMetrics } from './src/metrics.ts'
  const metrics = createMetrics({})
  outliveRejections({ metrics, log: createLog('all', (line) => console.log(line)) })
  Promise.reject(new Error('nobody waits for this'))
  setImmediate(() => console.log(metrics.write().match(/^sluice_unhandled_rejections_total .*$/m)[0]))
`

it('the process goes on, with a line in the log and a count', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', SCRIPT])

  const [line = '', figure] = stdout.trim().split('\n')
  expect(JSON.parse(line)).toMatchObject({ level: 'warn', cause: expect.stringContaining('nobody waits') })
  expect(figure).toBe('sluice_unhandled_rejections_total 1')
})
