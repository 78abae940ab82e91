/** `npm test`: every gate in order, stopped by the first that fails, and a summary of what ran on what. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { getChromium } from '../test/support/chromium.ts'
import { HOSTS } from '../test/support/host.ts'
import { prepareNatsLines } from '../test/support/nats.ts'
import { installDebianPackages } from './debian-packages.ts'
import { getNatsServer } from './nats-server.ts'
import { CACHE, ROOT } from './paths.ts'
import { run } from './processes.ts'
import { getWorkerBundle } from './worker-bundle.ts'
import { workerdPath } from './workerd.ts'

type Counts = { passed: number; failed: number; skipped: number; skippedNames: string[] }
type Step = { title: string; run: () => Promise<boolean> }

const REPORT = join(CACHE, 'vitest.json')
const NAMED_SKIPS = 20

/** Tools that count their users or ask for news of themselves: a test run talks to nobody. */
const QUIET = { REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true', DO_NOT_TRACK: '1' }

const vitestArguments = process.argv.slice(2).filter((argument) => argument !== '--')

const command = (name: string, ...args: string[]): Promise<boolean> =>
  new Promise((resolve) => {
    const program = name === 'node' ? process.execPath : join(ROOT, 'node_modules', '.bin', name)
    const child = spawn(program, args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...QUIET } })
    const forward = (signal: NodeJS.Signals) => void child.kill(signal)
    process.once('SIGTERM', forward)
    child.once('error', (err) => {
      console.error(err.message)
      resolve(false)
    })
    child.once('exit', (code) => {
      process.off('SIGTERM', forward)
      resolve(code === 0)
    })
  })

const ranOn: string[] = []
const leftOut: string[] = []

const setUp = async (): Promise<boolean> => {
  ranOn.push(`Node ${process.versions.node}`)
  ranOn.push(`nats-server ${(await getNatsServer('current')).version}`)
  const without = await prepareNatsLines()
  if (without) leftOut.push(`nats-server 2.10: ${without}`)
  else ranOn.push(`nats-server ${(await getNatsServer('2.10')).version}`)

  if (HOSTS.includes('workerd')) ranOn.push((await run(workerdPath(), ['--version'])).stdout.trim())
  else leftOut.push('workerd: SLUICE_HOSTS leaves it out')
  if (!HOSTS.includes('node')) leftOut.push('Node as a host: SLUICE_HOSTS leaves it out')

  const chromium = await getChromium()
  if (chromium.path !== undefined) ranOn.push(`Chromium ${chromium.version}`)
  else leftOut.push(`browser tests: ${chromium.reason}`)
  await getExampleTools()
  return true
}

/** What the scripts under examples/ are written for. */
const getExampleTools = async (): Promise<void> => {
  const tools = ['curl', 'python3']
  const there = await Promise.all(tools.map(async (name) => (await run(name, ['--version'])).ok))
  const missing = tools.filter((_, index) => !there[index])
  const reason = missing.length > 0 ? await installDebianPackages(missing) : undefined
  if (reason) leftOut.push(`tests of the examples: no ${missing.join(', no ')}, and ${reason}`)
}

const runVitest = async (): Promise<boolean> => {
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${REPORT}`]
  return await command('vitest', 'run', ...reporters, ...vitestArguments)
}

const buildWorker = async (): Promise<boolean> => {
  const { folder } = await getWorkerBundle()
  console.log(`built: ${folder}`)
  return true
}

const STEPS: Step[] = [
  { title: 'Set-up', run: setUp },
  { title: 'Format and lint', run: () => command('biome', 'ci', '.') },
  { title: 'Types', run: () => command('tsc', '-p', '.') },
  {
    title: 'Contract: openapi.json is what the routes say',
    run: () => command('node', 'openapi/generate.ts', '--check'),
  },
  { title: 'Contract: Redocly lint', run: () => command('redocly', 'lint', 'openapi/openapi.json') },
  { title: 'Worker bundle: wrangler deploy --dry-run', run: buildWorker },
  { title: 'Tests', run: runVitest },
]

/** A file that fails before its first test has no failed test, and must count all the same. */
const readCounts = (): Counts => {
  if (!existsSync(REPORT)) return { passed: 0, failed: 0, skipped: 0, skippedNames: [] }
  const report = JSON.parse(readFileSync(REPORT, 'utf8')) as {
    success: boolean
    numPassedTests: number
    numFailedTests: number
    numPendingTests: number
    numTodoTests: number
    testResults: { status: string; assertionResults: { status: string; fullName: string }[] }[]
  }
  const files = report.testResults
  const brokenFiles = files.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed'),
  )
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + brokenFiles.length,
    skipped: report.numPendingTests + report.numTodoTests,
    skippedNames: files
      .flatMap((file) => file.assertionResults)
      .filter(({ status }) => !['passed', 'failed'].includes(status))
      .map(({ fullName }) => fullName.trim()),
  }
}

const runSteps = async (): Promise<string | undefined> => {
  for (const step of STEPS) {
    console.log(`\n=== ${step.title}`)
    const began = Date.now()
    const passed = await step.run().catch((err: unknown) => {
      console.error(err instanceof Error ? err.message : err)
      return false
    })
    console.log(`--- ${passed ? 'ok' : 'FAILED'} after ${((Date.now() - began) / 1_000).toFixed(1)} s`)
    if (!passed) return step.title
  }
  return undefined
}

const main = async (): Promise<void> => {
  process.chdir(ROOT)
  mkdirSync(CACHE, { recursive: true })
  // The report of an earlier run must not count for a run that stops before its tests.
  rmSync(REPORT, { force: true })
  const failedStep = await runSteps()
  const { passed, failed, skipped, skippedNames } = readCounts()
  // A gate that failed is a failure, also where no test did.
  const failures = failedStep && failed === 0 ? 1 : failed

  console.log(`\n=== Summary\nran on: ${ranOn.join(', ')}\nhosts: ${HOSTS.join(', ')}`)
  for (const reason of leftOut) console.log(`left out: ${reason}`)
  for (const name of skippedNames.slice(0, NAMED_SKIPS)) console.log(`skipped: ${name}`)
  if (skippedNames.length > NAMED_SKIPS) console.log(`skipped: ${skippedNames.length - NAMED_SKIPS} more`)
  console.log(failedStep ? `FAILED at: ${failedStep}` : 'All gates passed.')
  console.log(`\n${passed} passed, ${failures} failed, ${skipped} skipped`)
  process.exitCode = failedStep ? 1 : 0
}

await main()
