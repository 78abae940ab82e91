/** Asking V8 in a running host, by the inspector that both runtimes have. */

const ANSWER_MS = 10_000

/** The inspector of one host; whoever opens it closes it. */
export type Inspector = {
  /** One request of V8's protocol. Throws when it is refused, or not answered within 10 s. */
  ask: <Result>(method: string, params?: object) => Promise<Result>
  close: () => void
}

type Answer = { id?: number; result?: unknown; error?: { message: string } }

const settle = (socket: WebSocket, id: number, method: string): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer)
      socket.removeEventListener('message', hear)
    }
    const timer = setTimeout(() => {
      end()
      reject(new Error(`${method} was not answered`))
    }, ANSWER_MS)
    const hear = ({ data }: MessageEvent) => {
      const answer = JSON.parse(String(data)) as Answer
      if (answer.id !== id) return
      end()
      if (answer.error) reject(new Error(`${method}: ${answer.error.message}`))
      else resolve(answer.result)
    }
    socket.addEventListener('message', hear)
  })

/** `port`: where a host started with `inspectorPort` listens on the loopback. Throws where nobody does. */
export const openInspector = async (port: number): Promise<Inspector> => {
  const list = await fetch(`http://127.0.0.1:${port}/json/list`)
  const [target] = (await list.json()) as { webSocketDebuggerUrl: string }[]
  const socket = new WebSocket(target?.webSocketDebuggerUrl ?? '')
  await new Promise<void>((resolve, reject) => {
    socket.onopen = () => resolve()
    socket.onerror = () => reject(new Error('the inspector cannot be reached'))
  })
  let asked = 0
  return {
    ask: async <Result>(method: string, params = {}) => {
      asked += 1
      const answered = settle(socket, asked, method)
      socket.send(JSON.stringify({ id: asked, method, params }))
      return (await answered) as Result
    },
    close: () => socket.close(),
  }
}

type HeapUsage = { usedSize: number; embedderHeapUsedSize: number; backingStorageSize: number }

/**
 * Has a host collect its garbage; workerd does so as it takes the next request.
 * Answers what JavaScript still has in use then, buffers included, bytes.
 */
export const collectGarbage = async (port: number): Promise<number> => {
  const inspector = await openInspector(port)
  try {
    await inspector.ask('HeapProfiler.collectGarbage')
    const usage = await inspector.ask<HeapUsage>('Runtime.getHeapUsage')
    return usage.usedSize + usage.embedderHeapUsedSize + usage.backingStorageSize
  } finally {
    inspector.close()
  }
}
