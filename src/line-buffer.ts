/** Owns writing many lines in few calls: on Node each write to standard output is a system call. */

const FLUSH_MS = 100
/** What waits at most. */
const MAX_CHARS = 65_536

interface LineBuffer {
  /** Takes a line without its end; it is written within 100 ms. */
  write(line: string): void
  /** Writes what waits: for the end of the process, after which no timer runs. */
  flush(): void
}

/** `sink` writes all it is given before it returns. */
export function createLineBuffer(sink: (text: string) => void): LineBuffer {
  let waiting = ''
  let timer: ReturnType<typeof setTimeout> | undefined
  const flush = () => {
    clearTimeout(timer)
    timer = undefined
    const text = waiting
    waiting = ''
    if (text !== '') sink(text)
  }
  return {
    write(line) {
      waiting += `${line}\n`
      if (waiting.length >= MAX_CHARS) flush()
      else timer ??= setTimeout(flush, FLUSH_MS)
    },
    flush,
  }
}
