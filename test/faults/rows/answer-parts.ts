/** Taking an HTTP/1.1 answer apart while its bytes come: its head, the frames of its chunks, and its body. */

const LINE_FEED = 0x0a

/** Of one answer that is chunked. */
export class AnswerParts {
  /** 0 until its line is there. */
  status = 0
  isHeadOver = false
  hasEnded = false
  #line = ''
  #left = 0

  /** Answers what of these bytes is body. */
  take(bytes: Buffer): Buffer[] {
    const body: Buffer[] = []
    for (let at = 0; at < bytes.length; ) {
      if (this.#left === 0) at = this.#takeLine(bytes, at)
      else {
        const piece = bytes.subarray(at, at + this.#left)
        body.push(piece)
        this.#left -= piece.length
        at += piece.length
      }
    }
    return body
  }

  #takeLine(bytes: Buffer, at: number): number {
    const end = bytes.indexOf(LINE_FEED, at)
    const upTo = end === -1 ? bytes.length : end + 1
    this.#line += bytes.toString('latin1', at, upTo)
    if (end !== -1) {
      this.#endLine(this.#line.trimEnd())
      this.#line = ''
    }
    return upTo
  }

  #endLine(line: string): void {
    if (!this.isHeadOver) {
      if (this.status === 0) this.status = Number(line.split(' ')[1])
      if (line === '') this.isHeadOver = true
    } else if (line !== '') {
      this.#left = Number.parseInt(line, 16)
      if (this.#left === 0) this.hasEnded = true
    }
  }
}
