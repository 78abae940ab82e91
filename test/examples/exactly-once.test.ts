/** The proof of examples/exactly-once: a ledger that is killed again and again counts each transfer once. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HOSTS } from '../support/host.ts'
import { PYTHON, randomFrom, SEED, type Site, startSite } from './site.ts'

const KILLS = 50
const LATEST_KILL_MS = 30
/** Transfers for each life of the ledger, and of them on a page: one transaction. */
const TRANSFERS = 60
const PAGE = 5
const ACCOUNTS = 20

type Transfer = { from: string; to: string; amount: number }
type Account = { name: string; balance: number; transfers: number }

/** What the accounts must be, worked out from the stream alone. */
const accountsFrom = (transfers: readonly Transfer[]): Account[] => {
  const accounts = new Map<string, Account>()
  const add = (name: string, amount: number) => {
    const { balance = 0, transfers = 0 } = accounts.get(name) ?? {}
    accounts.set(name, { name, balance: balance + amount, transfers: transfers + 1 })
  }
  for (const { from, to, amount } of transfers) {
    add(from, -amount)
    add(to, amount)
  }
  return [...accounts.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

describe.skipIf(PYTHON.isMissing).each(HOSTS)(
  `examples/exactly-once on %s, seed ${SEED}${PYTHON.why}`,
  { timeout: 40_000 },
  (hostName) => {
    const random = randomFrom(`${SEED} ${hostName}`)
    let site: Site

    beforeAll(async () => {
      site = await startSite('exactly-once', hostName)
      await makeStream('BANK')
    })

    afterAll(async () => {
      await site?.end()
    })

    /** Where it is there already, it is made again. */
    const makeStream = async (name: string): Promise<void> => {
      await fetch(`${site.host.url}/v1/streams/${name}`, { method: 'DELETE' })
      await site.call('POST', '/v1/streams', { name, subjects: [`${name}.>`] })
    }

    const publishTransfers = async (stream: string, count: number): Promise<void> => {
      const name = () => `account-${Math.floor(random() * ACCOUNTS)}`
      for (let left = count; left > 0; left -= 1) {
        const transfer = { from: name(), to: name(), amount: 1 + Math.floor(random() * 100) }
        await site.call('POST', `/v1/subjects/${stream}.transfers/messages`, transfer)
      }
    }

    const transfersOf = async (stream: string): Promise<Transfer[]> =>
      (await site.messagesOf(stream)).map(({ data }) => JSON.parse(data))

    const accountsIn = (database: string): Account[] =>
      site.select(database, 'SELECT name, balance, transfers FROM accounts ORDER BY name')

    /** When the ledger last wrote. Its database is left alone: to look into it would mend what a kill left behind. */
    const lastCommit = () =>
      statSync(join(site.folder, 'ledger.db-wal'), { throwIfNoEntry: false })?.mtimeMs ?? 0

    test(`ledger.py counts each transfer once although it is killed ${KILLS} times`, async () => {
      for (let kill = 0; kill < KILLS; kill += 1) {
        const before = lastCommit()
        const publishing = publishTransfers('BANK', TRANSFERS)
        const ledger = await site.start('ledger.py', '--follow', '--limit', `${PAGE}`)
        await site.killLater(ledger, () => lastCommit() !== before, random() * LATEST_KILL_MS)
        await publishing
      }
      expect(await site.finish(await site.start('ledger.py'))).toMatch(/[1-9]\d* transfers booked/)

      const transfers = await transfersOf('BANK')
      expect(transfers).toHaveLength(KILLS * TRANSFERS)
      expect(accountsIn('ledger.db')).toEqual(accountsFrom(transfers))
    })

    test('two at a time count each transfer once', async () => {
      await makeStream('SHARED')
      const keep = () => site.start('ledger.py', '--stream', 'SHARED', '--db', 'shared.db', '--limit', '2')
      await site.finish(await keep())
      await publishTransfers('SHARED', 100)
      const both = await Promise.all([keep(), keep()])
      await Promise.all(both.map(({ ended }) => ended))
      await site.finish(await keep())
      expect(accountsIn('shared.db')).toEqual(accountsFrom(await transfersOf('SHARED')))
    })

    test('where messages are gone it stops, and books nothing more', async () => {
      const keep = (database: string) =>
        site.start('ledger.py', '--stream', 'HOLES', '--db', `${database}.db`)
      const expectStop = async (database: string, why: string) =>
        expect(await site.finish(await keep(database), 1)).toContain(`page is booked: ${why}`)

      await makeStream('HOLES')
      await publishTransfers('HOLES', 10)
      await site.finish(await keep('old'))
      const booked = accountsIn('old.db')
      expect(booked).toEqual(accountsFrom(await transfersOf('HOLES')))

      await publishTransfers('HOLES', 10)
      await site.call('DELETE', '/v1/streams/HOLES/messages/13')
      await expectStop('old', 'message 13 is gone, the next one there is 14')
      await site.call('POST', '/v1/streams/HOLES/purge', { seq: 15 })
      await expectStop('old', 'cursor_expired: Messages 11 to 14 were removed before they were read.')
      await expectStop('new', 'message 1 is gone, the next one there is 15')
      await makeStream('HOLES')
      await publishTransfers('HOLES', 20)
      await expectStop('old', 'stream_recreated: Stream "HOLES" is not the one the cursor is from.')
      expect(accountsIn('old.db')).toEqual(booked)
      expect(accountsIn('new.db')).toEqual([])
    })
  },
)
