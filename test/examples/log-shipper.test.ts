/** The proof of examples/log-shipper: each of its programs is killed in the middle, and no byte differs in the end. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ROOT } from '../../scripts/paths.ts'
import { logTail, run, type Server, startServer } from '../../scripts/processes.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const EXAMPLE = join(ROOT, 'examples', 'log-shipper')

/** Logs that some machine has; the package manager's list of packages is a file of lines on every Debian. */
const REAL_LOGS = [
  '/var/log/dpkg.log',
  '/var/log/apt/term.log',
  '/var/log/dnf.log',
  '/var/log/pacman.log',
  '/var/log/syslog',
  '/var/lib/dpkg/status',
]
const FEWEST_LINES = 1_000
const MOST_LINES = 1_200

/** What ship.sh sends at most in one message: PIECE_BYTES in it. */
const PIECE_BYTES = 1_000_000
/** All that a line can hold and a careless program changes; the last line has no newline. */
const NASTY_LINES = [
  '',
  '',
  '  leading',
  'trailing  \t ',
  ' ',
  '\\backslash \\n \\\\ \\',
  '%d %s %% %',
  '@file',
  '-n',
  '"double" \'single\' `command` $(command) $HOME *',
  'carriage return\r',
  '\u{feff}byte order mark',
  'line separators \u{2028} \u{85} \u{b}',
  'umlauts äöü, an emoji 🪵',
  Buffer.from([0xff, 0xfe, 0x80, 0x20, 0xc3]),
  Buffer.from([0x4e, 0x55, 0x4c, 0x20, 0x00, 0x20, 0x00]),
  'x'.repeat(300_000),
  'y'.repeat(PIECE_BYTES + 500_000),
  ...Array.from({ length: 20 }, () => 'the same again'),
  '',
  'no newline at the end',
]
/** One line of them takes two messages. */
const NASTY_MESSAGES = NASTY_LINES.length + 1

const joined = (lines: readonly (string | Buffer)[]): Buffer =>
  Buffer.concat(
    lines.flatMap((line, index) =>
      index === 0 ? [Buffer.from(line)] : [Buffer.from('\n'), Buffer.from(line)],
    ),
  )

const contentOf = (path: string): Buffer | undefined => {
  try {
    return readFileSync(path)
  } catch {
    return undefined
  }
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0

const countLines = (content: Buffer): number =>
  content.reduce((count, byte) => count + (byte === 10 ? 1 : 0), 0)

/** The last whole lines of a log, at most MOST_LINES. In latin1 every byte is a character, and none changes. */
const lastLines = (content: Buffer): Buffer => {
  const lines = content.toString('latin1').split(/(?<=\n)/)
  return Buffer.from(
    lines
      .filter((line) => line.endsWith('\n'))
      .slice(-MOST_LINES)
      .join(''),
    'latin1',
  )
}

const realLog = (): { path: string; content: Buffer } | undefined => {
  for (const path of REAL_LOGS) {
    const content = lastLines(contentOf(path) ?? Buffer.alloc(0))
    if (countLines(content) >= FEWEST_LINES) return { path, content }
  }
  return undefined
}

/** The interpreter itself: a version manager's wrapper in front of it would take the signals. */
const findPython = async (): Promise<string | undefined> => {
  const program = 'import sys; print(sys.executable if sys.version_info >= (3, 9) else "")'
  const { ok, stdout } = await run('python3', ['-c', program])
  return ok && stdout.trim() !== '' ? stdout.trim() : undefined
}

const python = await findPython()
const curl = await run('curl', ['--version'])
const real = realLog()

const missing = [
  ...(python ? [] : ['python3 (3.9 or newer)']),
  ...(curl.ok ? [] : ['curl']),
  ...(real ? [] : [`a log of at least ${FEWEST_LINES} lines`]),
]

// In the title, so that whatever lists skipped tests says why.
const why = missing.length > 0 ? `, missing here: ${missing.join(', ')}` : ''

describe.skipIf(missing.length > 0).each(HOSTS)(
  `examples/log-shipper on %s${why}`,
  { timeout: 40_000 },
  (hostName) => {
    const started = new Set<Server>()
    let count = 0
    let nats: TestNats
    let host: TestHost
    let folder: string
    let files: { log: string; host: string; content: Buffer; messages: number }[]
    let messagesInAll: number

    beforeAll(async () => {
      if (!real) return
      nats = await startNats()
      host = await startHost(hostName, { natsUrl: nats.wsUrl })
      folder = mkdtempSync(join(tmpdir(), 'sluice-log-shipper-'))
      const nasty = joined(NASTY_LINES)
      files = [
        {
          log: basename(real.path),
          host: 'web-1',
          content: real.content,
          messages: countLines(real.content),
        },
        { log: 'nasty', host: 'db-1.example.net', content: nasty, messages: NASTY_MESSAGES },
      ]
      for (const { log, content } of files) writeFileSync(join(folder, log), content)
      messagesInAll = files.reduce((sum, { messages }) => sum + messages, 0)
    })

    afterAll(async () => {
      for (const program of started) await kill(program)
      await host?.stop()
      await nats?.stop()
      if (folder) rmSync(folder, { recursive: true, force: true })
    })

    /** Starts a program of the example in the folder of the test, at the head of a process group of its own. */
    const start = async (command: string, ...args: string[]): Promise<Server> => {
      count += 1
      const logPath = join(folder, `output-${count}`)
      const program = await startServer({
        name: args.join(' '),
        command,
        args,
        cwd: folder,
        env: {
          PATH: process.env.PATH,
          PYTHONDONTWRITEBYTECODE: '1',
          SLUICE_URL: host.url,
          BATCH_LINES: '300',
        },
        logPath,
      })
      started.add(program)
      return program
    }

    /** SIGKILL to the whole process group; `false` where the program had ended before. */
    const kill = async (program: Server): Promise<boolean> => {
      if (program.hasEnded()) return false
      process.kill(-program.pid, 'SIGKILL')
      await program.ended
      return true
    }

    const outputOf = (program: Server): string => logTail(program.logPath ?? '')

    const finish = async (program: Server): Promise<string> => {
      const { code } = await program.ended
      expect(code, outputOf(program)).toBe(0)
      return outputOf(program)
    }

    /** Kills the program as soon as `isInTheMiddle`; fails where it is done before. */
    const killInTheMiddle = async (
      program: Server,
      isInTheMiddle: () => Promise<boolean> | boolean,
    ): Promise<void> => {
      while (!(await isInTheMiddle())) {
        expect(program.hasEnded(), `ended before it was killed: ${outputOf(program)}`).toBe(false)
        await delay(5)
      }
      expect(await kill(program), 'still ran when it was killed').toBe(true)
    }

    const get = async (path: string): Promise<unknown> => await (await fetch(host.url + path)).json()

    const storedMessages = async (): Promise<number> => {
      const stream = (await get('/v1/streams/LOGS')) as { state?: { messages: number } }
      return stream.state?.messages ?? 0
    }

    const expectOriginals = (outputFolder: string): void => {
      for (const file of files) {
        const content = contentOf(join(folder, outputFolder, `${file.host}.log`))
        expect(content && Buffer.compare(content, file.content), `${outputFolder}: ${file.host}.log`).toBe(0)
      }
    }

    test('ship.sh stores each line once although it is killed in the middle', async () => {
      let before = 0
      for (const file of files) {
        const ship = () => start('sh', join(EXAMPLE, 'ship.sh'), '-h', file.host, '-n', '3', file.log)
        for (const part of [1 / 4, 1 / 2]) {
          const goal = before + Math.floor(file.messages * part)
          await killInTheMiddle(await ship(), async () => (await storedMessages()) >= goal)
          expect(await storedMessages()).toBeLessThan(before + file.messages)
        }
        await finish(await ship())
        before += file.messages
        expect(await storedMessages()).toBe(before)
        expect(await finish(await ship())).toContain(' 0 lines acknowledged')
      }
      expect(await storedMessages()).toBe(messagesInAll)
    })

    test('read.py writes the original files although it is killed in the middle', async () => {
      const [first] = files
      const read = () => start(python ?? '', join(EXAMPLE, 'read.py'), '--out', 'read', '--limit', '20')
      for (const part of [1 / 4, 1 / 2]) {
        const goal = (first?.content.length ?? 0) * part
        await killInTheMiddle(await read(), () => sizeOf(join(folder, 'read', 'web-1.log')) >= goal)
      }
      expect(await finish(await read())).toMatch(/[1-9]\d* lines read/)
      expectOriginals('read')
      expect(await finish(await read())).toContain(' 0 lines read')
      expectOriginals('read')
    })

    test('share.py writes the original files although one of three workers is killed in the middle', async () => {
      const batch = 50
      const share = (...args: string[]) =>
        start(python ?? '', join(EXAMPLE, 'share.py'), ...args, '--out', 'share')
      const work = (worker: string) =>
        share('work', '--worker', worker, '--batch', `${batch}`, '--ack-wait-ms', '2000', '--work-ms', '2')
      mkdirSync(join(folder, 'share'))
      const [crashing, ...others] = await Promise.all(['a', 'b', 'c'].map(work))
      if (!crashing) throw new Error('no worker')
      await killInTheMiddle(crashing, () => {
        const written = countLines(contentOf(join(folder, 'share', 'a.journal')) ?? Buffer.alloc(0))
        return written > batch && written % batch > batch / 5 && written % batch < (batch * 4) / 5
      })
      const reports = await Promise.all(others.map(finish))
      expect(await finish(await share('assemble'))).toContain(`${messagesInAll} messages of 2 hosts`)
      expectOriginals('share')

      const again = reports.map((report) => Number(/(\d+) of them delivered before/.exec(report)?.[1]))
      expect(
        Math.max(...again),
        `what the crashed worker had got came again: ${reports.join('; ')}`,
      ).toBeGreaterThan(0)
    })
  },
)
