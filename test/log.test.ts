/** What a line of the log says of a failure that nobody foresaw: where and why, and nothing of what was sent. */
import { describe, expect, it } from 'vitest'
import { createLog } from '../src/log.ts'

const SECRET = 'hunter2'
const thrown = (work: () => unknown): unknown => {
  try {
    work()
  } catch (failure) {
    return failure
  }
  throw new Error('Nothing was thrown.')
}

describe('the cause of a failure', () => {
  it.each([
    ['a header that is none', () => new Headers({ 'Content-Type': `text/${SECRET}\0` })],
    ['a header with quotes', () => new Headers({ A: `"${SECRET}"\0` })],
    ['a name of a header', () => new Headers({ [`${SECRET} `]: 'x' })],
    ['JSON that is none', () => JSON.parse(`{"a":${SECRET}}`)],
    ['JSON with quotes', () => JSON.parse(`{"a":"x" '${SECRET}'`)],
    ['a URL', () => new URL(`http://${SECRET}@:x`)],
    ['what is no function', () => (({ [SECRET]: 1 }) as unknown as { a(): void }).a()],
    [
      'an error of ours',
      () => {
        throw new Error(`The value "${SECRET}" is none.`)
      },
    ],
    [
      'a text',
      () => {
        throw `no "${SECRET}"`
      },
    ],
  ])('has nothing of the value: %s', (_, work) => {
    const lines: string[] = []
    const log = createLog('all', (line) => lines.push(line))

    log.warn({ code: 'internal', detail: 'An unexpected failure.', cause: thrown(work) })

    expect(lines).toHaveLength(1)
    expect(lines[0]).not.toContain(SECRET)
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ code: 'internal', cause: expect.stringMatching(/./) })
  })

  it('says what kind it is, and where', () => {
    const lines: string[] = []
    createLog('all', (line) => lines.push(line)).warn({
      code: 'internal',
      detail: '',
      cause: new TypeError('It is gone.'),
    })

    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      cause: expect.stringMatching(/^TypeError: It is gone\.\n {4}at .*log\.test/),
    })
  })
})
