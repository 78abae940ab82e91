/** Settings as environments have them: text, numbers, booleans; old names, and names that are likely mistakes. */
import { describe, expect, test } from 'vitest'
import { BadSettings, readSettings, settingNotes } from '../src/settings.ts'

const MIB = 1_048_576
const GOOD = { AUTH: 'nats', NATS_URL: 'ws://127.0.0.1:1', TOKEN_KEYS: `k1:${'k'.repeat(43)}` }

describe('readSettings', () => {
  test.each([
    ['MAX_READERS', 'many', 'must be a whole number from 1 to 1000000'],
    ['MAX_READERS', '1.5', 'must be a whole number from 1 to 1000000'],
    ['MAX_READERS_PER_TENANT', '0', 'must be a whole number from 1 to 1000000'],
    ['AUTH', 'some', 'must be none or nats'],
    ['LOG', 'loud', 'must be all, failures or off'],
    ['LOOPBACK_ONLY', 'yes', 'must be true or false'],
    ['CORS_ORIGINS', '*', 'must be an origin such as https://app.example.com'],
    [
      'NATS_URL',
      'nats://a:4222',
      'must be a ws:// or wss:// URL without a user: that of a WebSocket of NATS',
    ],
  ])('%s=%s is refused by one sentence, which says what it must be', (name, value, must) => {
    expect(() => readSettings({ ...GOOD, [name]: value })).toThrow(new BadSettings([{ name, message: must }]))
  })

  test('takes numbers, as wrangler.toml may have them, and booleans for text', () => {
    expect(readSettings({ ...GOOD, MAX_MEMORY_BYTES: 32 * MIB }).MAX_MEMORY_BYTES).toBe(32 * MIB)
    expect(readSettings({ ...GOOD, NATS_USER: true }).NATS_USER).toBe('true')
    expect(() => readSettings({ ...GOOD, MAX_MEMORY_BYTES: 1 })).toThrow(/^Bad settings\. MAX_MEMORY_BYTES: /)
    expect(() => readSettings({ ...GOOD, LOG: false })).toThrow(/^Bad settings\. LOG: /)
  })

  test.each([[[1]], [{ secret: 'value-71c' }], [Symbol('value-71c')]])(
    'names what is neither: %s',
    (value) => {
      expect(() => readSettings({ ...GOOD, MAX_READERS: value })).toThrow(
        /^Bad settings\. MAX_READERS: must be text, a number or a boolean$/,
      )
    },
  )

  test('takes an absent value and an empty text for none', () => {
    expect(readSettings({ ...GOOD, MAX_READERS: '', MAX_WAITING: undefined, HEARTBEAT_MS: null })).toEqual(
      readSettings(GOOD),
    )
  })

  test('takes MAX_HELD_BYTES for MAX_MEMORY_BYTES where that is absent', () => {
    expect(readSettings({ ...GOOD, MAX_HELD_BYTES: String(3 * MIB) }).MAX_MEMORY_BYTES).toBe(3 * MIB)
    const both = { ...GOOD, MAX_HELD_BYTES: String(3 * MIB), MAX_MEMORY_BYTES: String(5 * MIB) }
    expect(readSettings(both).MAX_MEMORY_BYTES).toBe(5 * MIB)
  })

  test('gives one credential half of each limit, with AUTH=none all of it, or what is said', () => {
    const limits = { MAX_PUBLISHERS: 7, MAX_MEMORY_BYTES: 8 * MIB }
    const shares = { MAX_PUBLISHERS_PER_TENANT: 4, MAX_MEMORY_BYTES_PER_TENANT: 4 * MIB }
    expect(readSettings({ ...GOOD, ...limits })).toMatchObject({ ...shares, MAX_READERS_PER_TENANT: 10_000 })
    expect(readSettings({ ...GOOD, ...limits, AUTH: 'none' })).toMatchObject({
      MAX_PUBLISHERS_PER_TENANT: 7,
      MAX_MEMORY_BYTES_PER_TENANT: 8 * MIB,
      MAX_WAITING_PER_TENANT: 10_000,
    })
    expect(readSettings({ ...GOOD, MAX_WAITING_PER_TENANT: '9000' }).MAX_WAITING_PER_TENANT).toBe(9_000)
  })
})

describe('settingNotes', () => {
  const SECRET = 'value-71c'

  test.each([
    ['MAX_PUBLISHER', 'MAX_PUBLISHERS'],
    ['NATS_URLS', 'NATS_URL'],
    ['TOKENKEYS', 'TOKEN_KEYS'],
    ['CORS_ORIGIN', 'CORS_ORIGINS'],
    ['HEARTBEAT_MS_', 'HEARTBEAT_MS'],
    ['heartbeat_ms', 'HEARTBEAT_MS'],
    ['AUHT_', undefined],
    ['OAUTH', 'AUTH'],
    ['MAX_MEMORY', undefined],
    ['NATS_CREDENTIALS', undefined],
    ['SLUICE_AUTH', undefined],
  ])('%s is told with the setting that it is near to: %s', (name, meant) => {
    const notes = settingNotes({ ...GOOD, [name]: SECRET })
    expect(notes.join()).not.toContain(SECRET)
    if (name === 'AUHT_') expect(notes).toEqual([])
    else
      expect(notes).toEqual([
        `${name} is not a setting of Sluice and has no effect.${meant ? ` Did you mean ${meant}?` : ''}`,
      ])
  })

  test('an old name is told', () => {
    expect(settingNotes({ MAX_HELD_BYTES: SECRET })).toEqual([
      'MAX_HELD_BYTES is called MAX_MEMORY_BYTES now.',
    ])
    expect(settingNotes({ MAX_HELD_BYTES: SECRET, MAX_MEMORY_BYTES: SECRET })).toEqual([
      'MAX_HELD_BYTES has no effect: MAX_MEMORY_BYTES is set, which is its name now.',
    ])
  })

  test('says nothing of an ordinary environment', () => {
    const ordinary = [
      'PATH',
      'HOME',
      'HOST',
      'PORT',
      'LANG',
      'LOGNAME',
      'NODE_ENV',
      'NATS_SERVICE_HOST',
      'NATS_PORT_4222_TCP',
    ]
    expect(settingNotes({ ...GOOD, ...Object.fromEntries(ordinary.map((name) => [name, SECRET])) })).toEqual(
      [],
    )
  })
})
