/** README.md as a new user reads it: its commands are pasted as they stand, and print what it shows. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run } from '../../scripts/processes.ts'
import { HOSTS } from '../support/host.ts'
import { readBlocks, readExamples, splitOutput, toScript, withoutChance } from './readme.ts'
import { type Started, startSluice } from './started.ts'

const START_MS = 120_000
const RUN_MS = 120_000

test('begins with five commands: create a stream, publish, read, follow, consume', () => {
  const [first] = readExamples()
  expect(first?.commands.trimEnd().split('\n')).toEqual([
    expect.stringMatching(/\/v1\/streams$/),
    expect.stringMatching(/\/v1\/subjects\/[\w.]+\/messages$/),
    expect.stringMatching(/\/v1\/streams\/ORDERS\/messages$/),
    expect.stringContaining('text/event-stream'),
    expect.stringMatching(/\/consumers\/billing\/pull$/),
  ])
})

describe.each(HOSTS)('npm start on %s', (host) => {
  const examples = readExamples()
  let started: Started
  let outputs: string[]
  beforeAll(async () => {
    started = await startSluice(host)
    await started.says('Sluice is ready at')
    outputs = splitOutput((await run('bash', ['-c', toScript(examples, started.url)])).stdout)
  }, START_MS + RUN_MS)
  afterAll(() => started?.stop())

  test.each(examples.map((example, index) => ({ ...example, index })))(
    'the commands at line $line print what is shown',
    ({ index, shown }) => {
      expect(withoutChance(outputs[index] ?? '')).toBe(withoutChance(shown))
    },
  )

  test('the page that follows the stream by EventSource hears what is there', async () => {
    const [page = ''] = readBlocks('What it is for', 'js')
    const script = page.replaceAll('http://127.0.0.1:8787', started.url)
    const end = `events.addEventListener('caught_up', () => events.close())\n`
    const args = ['--experimental-eventsource', '--input-type=module', '-e', script + end]
    const { stdout } = await run(process.execPath, args)
    expect(stdout).toBe('message {"id":7}\ncaught up: what comes from here on is new\n')
  })

  test('the commands that it greets with work as they are printed', async () => {
    const greeting = started
      .said()
      .split('\n')
      .filter((line) => line.startsWith('  curl '))
    expect(greeting).toHaveLength(3)
    // The first makes the stream that is there by now.
    for (const command of greeting.slice(1)) {
      const { stdout } = await run('bash', ['-c', `${command} -s -o /dev/null -w '%{http_code}'`])
      expect({ command, status: stdout }).toEqual({ command, status: expect.stringMatching(/^20[01]$/) })
    }
  })
})
