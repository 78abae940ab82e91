/** What the browser tests share: pages of other origins, a connection that can be cut, and an `EventSource`'s log. */
import { request as askBridge, createServer as createPageServer } from 'node:http'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { type Browser, chromium, type Page } from 'playwright-core'
import { CHROMIUM_FLAGS, type Chromium } from '../support/chromium.ts'

const LOOPBACK = '127.0.0.1'

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve))
  return `http://${LOOPBACK}:${(server.address() as AddressInfo).port}`
}

/** A web site: an origin of its own, with a page that does nothing by itself. */
export interface Site {
  readonly origin: string
  stop(): void
}

export async function startSite(): Promise<Site> {
  const server = createPageServer((_, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html' })
    response.end('<!doctype html><title>A page</title>')
  })
  const origin = await listen(server)
  return {
    origin,
    stop() {
      server.close()
      server.closeAllConnections()
    },
  }
}

/**
 * A proxy as nginx is by default: it offers the bridge under a path of its own origin, and passes on another `Host`. Any
 * other path is a page.
 */
export async function startProxy(target: () => string, path: string): Promise<Site> {
  const server = createPageServer((asked, answer) => {
    const url = asked.url ?? '/'
    if (!url.startsWith(`${path}/`)) {
      answer.writeHead(200, { 'Content-Type': 'text/html' })
      return void answer.end('<!doctype html><title>A page</title>')
    }
    const { hostname, port } = new URL(target())
    const headers = { ...asked.headers, host: `${hostname}:${port}` }
    const passed = askBridge(
      { hostname, port, method: asked.method, path: url.slice(path.length), headers },
      (answered) => {
        answer.writeHead(answered.statusCode ?? 502, answered.headers)
        answered.pipe(answer)
      },
    )
    passed.on('error', () => answer.destroy())
    answer.on('close', () => passed.destroy())
    asked.pipe(passed)
  })
  const origin = await listen(server)
  return {
    origin,
    stop() {
      server.close()
      server.closeAllConnections()
    },
  }
}

/** A way to the bridge that can be cut at any time, and that sees what goes over it. */
export interface Wire {
  readonly url: string
  /** Cuts all connections. */
  cut(): void
  /** Cuts each connection from now on after so many bytes of answers; undefined: none. */
  cutAfter(bytes: number | undefined): void
  /** How many connections were cut. */
  cuts(): number
  /** What was asked and answered so far. */
  asked(): string
  answered(): string
  stop(): void
}

/** `targetUrl`: the bridge. Nothing needs to listen there all the time. */
export async function startWire(targetUrl: string): Promise<Wire> {
  const target = new URL(targetUrl)
  const sockets = new Set<Socket>()
  const log = { asked: '', answered: '', cuts: 0 }
  let most: number | undefined

  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname)
    let left = most
    const end = () => {
      near.destroy()
      far.destroy()
      sockets.delete(near)
    }
    sockets.add(near)
    near.on('data', (data) => {
      log.asked += data.toString('latin1')
      far.write(data)
    })
    far.on('data', (data) => {
      const passed = left === undefined ? data : data.subarray(0, left)
      log.answered += passed.toString('latin1')
      near.write(passed)
      if (left === undefined) return
      left -= passed.length
      if (left > 0) return
      log.cuts += 1
      near.end(end)
    })
    for (const socket of [near, far]) socket.on('close', end).on('error', end)
  })
  const url = await listen(server)
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy()
    log.cuts += sockets.size
    sockets.clear()
  }
  return {
    url,
    cut,
    cutAfter(bytes) {
      most = bytes
    },
    cuts: () => log.cuts,
    asked: () => log.asked,
    answered: () => log.answered,
    stop() {
      server.close()
      cut()
    },
  }
}

export const launch = (
  { path }: Chromium & { path: string },
  flags: readonly string[] = [],
): Promise<Browser> => chromium.launch({ executablePath: path, args: [...CHROMIUM_FLAGS, ...flags] })

/** What a page's `EventSource` was told, in order. `state`: its `readyState` at the time; `data`: parsed. */
export interface Told {
  readonly event: string
  readonly id: string
  readonly state: number
  readonly data: unknown
}

export const CLOSED = 2

declare global {
  /** Of a page under test. */
  var told: Told[]
  var source: EventSource
}

/** Opens an `EventSource` in the page, in place of the one it has. */
export async function listenTo(page: Page, url: string): Promise<void> {
  await page.evaluate((address) => {
    globalThis.source?.close()
    globalThis.told = []
    const source = new EventSource(address)
    globalThis.source = source
    const note = (event: Event) => {
      const { data, lastEventId = '' } = event as MessageEvent<string | undefined>
      globalThis.told.push({
        event: event.type,
        id: lastEventId,
        state: source.readyState,
        data: data === undefined ? undefined : JSON.parse(data),
      })
    }
    source.onopen = note
    source.onmessage = note
    for (const name of ['caught_up', 'gap', 'error']) source.addEventListener(name, note)
  }, url)
}

export const toldTo = (page: Page): Promise<Told[]> => page.evaluate(() => globalThis.told)

/** Resolves once the page was told so many events of this name. */
export async function waitFor(page: Page, event: string, count: number): Promise<Told[]> {
  await page.waitForFunction(
    ([name, least]) => globalThis.told.filter((one) => one.event === name).length >= least,
    [event, count] as const,
    { polling: 20 },
  )
  return (await toldTo(page)).filter((one) => one.event === event)
}

/** Resolves once the page's `EventSource` has given up. */
export async function waitUntilClosed(page: Page): Promise<void> {
  await page.waitForFunction((closed) => globalThis.source.readyState === closed, CLOSED, { polling: 20 })
}

/** What a page's `fetch` came to: an answer, or the name of what it threw. */
export type Fetched = { status: number; body: unknown } | { threw: string }

export interface PageRequest {
  readonly url: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly json?: unknown
  readonly mode?: RequestMode
}

export const fetchIn = (page: Page, request: PageRequest): Promise<Fetched> =>
  page.evaluate(async ({ url, method = 'GET', headers = {}, json, mode = 'cors' }) => {
    try {
      const answer = await fetch(url, {
        method,
        mode,
        headers: { ...headers, ...(json === undefined ? {} : { 'Content-Type': 'application/json' }) },
        ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      })
      const text = await answer.text()
      return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) }
    } catch (thrown) {
      return { threw: (thrown as Error).name }
    }
  }, request)
