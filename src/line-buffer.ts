/** Writing many lines in few calls: on Node each write to standard output is a system call. */

const FLUSH_MS = 100
/** What waits at most. */
const MAX_BYTES = 65_536
/** Of a UTF-16 unit in UTF-8, at most. */
const BYTES_PER_CHAR = 3

interface LineBuffer {
  /** Takes a line without its end; it is written within 100 ms. */
  write(line: string): void
  /** Writes what waits: for the end of the process, after which no timer runs. */
  flush(): void
}

/** `sink` writes all it is given before it returns. */
export function createLineBuffer(sink: (text: Uint8Array | string) => void): LineBuffer {
  // Bytes, not texts: a text for each line would live through several collections before it is written.
  const waiting = Buffer.allocUnsafe(MAX_BYTES)
  let size = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  const flush = () => {
    clearTimeout(timer)
    timer = undefined
    if (size > 0) sink(new Uint8Array(waiting.subarray(0, size)))
    size = 0
  }
  return {
    write(line) {
      const most = line.length * BYTES_PER_CHAR + 1
      if (size + most > MAX_BYTES) flush()
      if (most > MAX_BYTES) {
        sink(`${line}\n`)
        return
      }
      size += waiting.write(line, size)
      size += waiting.write('\n', size, 'latin1')
      timer ??= setTimeout(flush, FLUSH_MS)
    },
    flush,
  }
}
