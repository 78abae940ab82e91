/** Why the WebSocket of a NATS server cannot be reached: the runtimes that Sluice runs on do not say. */
import { randomBytes } from 'node:crypto'
import { type ClientRequest, type RequestOptions, request } from 'node:http'
import { request as requestWithTls } from 'node:https'

const REACH_MS = 4_000

const HINT = 'It has to be the port of a `websocket { … }` in the configuration of NATS, not its ordinary one'

const upgrade: RequestOptions = {
  headers: {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    'Sec-WebSocket-Version': '13',
  },
  timeout: REACH_MS,
}

const ask = (url: string): ClientRequest =>
  url.startsWith('wss:')
    ? requestWithTls(url.replace('wss:', 'https:'), upgrade)
    : request(url.replace('ws:', 'http:'), upgrade)

/** Where the other side does not speak HTTP, or not TLS. */
const isOtherProtocol = (code = '') => code.startsWith('HPE_') || code === 'EPROTO' || code === 'ECONNRESET'

const whyNotOne = (url: string): Promise<string | undefined> =>
  new Promise((resolve) => {
    const asked = ask(url)
    const end = (reason: string | undefined) => {
      asked.destroy()
      resolve(reason)
    }
    asked.on('upgrade', () => end(undefined))
    asked.on('response', ({ statusCode }) =>
      end(`${url} answers ${statusCode}, and is no WebSocket. ${HINT}.`),
    )
    asked.on('timeout', () => end(`${url} does not answer.`))
    asked.on('error', ({ code, message }: NodeJS.ErrnoException) =>
      end(
        isOtherProtocol(code)
          ? `${url} is no WebSocket (${message}). ${HINT}.`
          : `${url}: ${message || code}.`,
      ),
    )
    asked.end()
  })

/** Why none of the addresses, comma separated, has a WebSocket; undefined where one has. */
export const whyNotReached = async (urls: string): Promise<string | undefined> => {
  const all = urls.split(',').map((url) => url.trim())
  const reasons = await Promise.all(all.filter((url) => URL.canParse(url)).map(whyNotOne))
  return reasons.includes(undefined) ? undefined : reasons.join(' ')
}
