/** Clients that publish lines: a whole body at once, or a conversation that says one thing after another. */
import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import { CREDENTIAL } from './client.ts'
import type { Received } from './contract.ts'
import type { Result } from './results.ts'
import type { Target } from './target.ts'

export const LINES = { 'Content-Type': 'application/x-ndjson' }
/** More lines than a bridge has under way at a time. */
export const MANY = 5_000
/** A write that waits so long is one that the bridge does not take. */
export const STALLED_MS = 1_000

export const toLine = (message: unknown) => `${JSON.stringify(message)}\n`

/** A request under way. Whoever opens it ends it, or leaves. */
export interface Conversation {
  say(text: string | Buffer): void
  /** Whether what was said is taken, or comes to be in time. */
  room(withinMs: number): Promise<boolean>
  /** The next result; undefined at the end of the answer. Nothing of the answer is read before it is called. */
  next(): Promise<Result | undefined>
  end(): void
  /** Leaves without a word; with a reset, as a client that was killed. */
  vanish(withReset: boolean): void
}

type Check = (received: Received, result: unknown) => void

function converse(url: string, headers: Readonly<Record<string, string>>, check: Check): Conversation {
  const { request: open } = url.startsWith('https:') ? https : http
  const path = '/v1/messages'
  const request = open(url + path, { method: 'POST', headers: { ...CREDENTIAL, ...headers }, agent: false })
  request.flushHeaders()
  const answered = once(request, 'response') as Promise<[IncomingMessage]>
  answered.catch(() => {})
  request.on('error', () => {})

  const read = async function* (): AsyncGenerator<Result, undefined> {
    const [response] = await answered
    const headers = new Headers(
      Object.entries(response.headers).map(([name, value]): [string, string] => [name, `${value}`]),
    )
    const received = { method: 'POST', path, status: response.statusCode ?? 0, headers }
    let rest = ''
    for await (const chunk of response.setEncoding('utf8')) {
      const lines = `${rest}${chunk}`.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const result = JSON.parse(line)
        check(received, result)
        yield result
      }
    }
    expect(rest).toBe('')
    return undefined
  }
  const results = read()
  return {
    say: (text) => void request.write(text),
    room: async (withinMs) =>
      !request.writableNeedDrain ||
      (await Promise.race([once(request, 'drain').then(() => true), delay(withinMs, false)])),
    next: async () => (await results.next()).value,
    end: () => request.end(),
    vanish: (withReset) => (withReset ? request.socket?.resetAndDestroy() : request.destroy()),
  }
}

/** Publishes lines to a target, and checks each result against its contract. To be used inside tests. */
export function linesTo(target: Target) {
  const check = (received: Received, result: unknown) => {
    target.bridge.contract.check(received)
    target.bridge.contract.checkPart(received, result)
  }
  const begin = (headers = {}) => converse(target.bridge.url, { ...LINES, ...headers }, check)
  /** The results of a whole body. */
  const send = async (
    body: string | Uint8Array,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Result[]> => {
    const { response, received } = await target.bridge.open('POST /v1/messages', {
      headers: { ...LINES, ...headers },
      body,
    })
    expect(response.status).toBe(200)
    expect(response.headers.get('Content-Type')).toBe('application/x-ndjson')
    target.bridge.contract.check(received)
    const lines = (await response.text()).split('\n')
    expect(lines.pop()).toBe('')
    const results = lines.map((line) => JSON.parse(line))
    for (const result of results) target.bridge.contract.checkPart(received, result)
    return results
  }
  const sendAll = (messages: readonly unknown[]) => send(messages.map(toLine).join(''))

  return { begin, send, sendAll }
}
