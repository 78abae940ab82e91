/** Exploring at length, outside of the tests: `node test/model/run.ts <runs> <seed>`. */
import { explore } from './play.ts'

const [runs = '100000', seed = '1'] = process.argv.slice(2)
const { failure, ...done } = await explore({ runs: Number(runs), seed: Number(seed) })
process.stdout.write(`${JSON.stringify({ seed, ...done })}\n${failure ?? 'nothing found'}\n`)
process.exitCode = failure === undefined ? 0 : 1
