/** How many messages each subject of a stream has, in pages as JetStream gives them. */
import type { SubjectCounts } from '../../jetstream.ts'
import { requestApi } from './api.ts'
import type { Connection } from './connection.ts'
import { type ApiError, fromApiError } from './errors.ts'
import { checkedName } from './names.ts'

const LIST_BEGINS = '"subjects":{'
/** Behind the last member alone: within a name, a quotation mark is escaped. */
const LIST_ENDS = /(?<!\\)(?:\\\\)*":\d+\}/g

interface InfoReply {
  readonly error?: ApiError
  readonly total?: number
  readonly offset?: number
  readonly limit?: number
}

/** `JetStream.subjectCounts`. The list is cut out: to parse 100,000 subjects would hold up everything else. */
export async function subjectCounts(
  connection: Connection,
  stream: string,
  filter: string,
  offset: number,
): Promise<SubjectCounts> {
  const body = { subjects_filter: filter, offset }
  const reply = await requestApi(connection, `STREAM.INFO.${checkedName('stream', stream)}`, body)
  const text = reply.string()
  const { list, rest } = cutOut(text)
  const { error, total = 0, limit = total } = JSON.parse(rest) as InfoReply
  if (error) throw fromApiError(error)
  const next = offset + limit
  return { json: list, nextOffset: next < total ? next : null }
}

/** The list of subjects, and the reply without it. */
function cutOut(text: string): { readonly list: string; readonly rest: string } {
  const at = text.indexOf(LIST_BEGINS)
  if (at === -1) return { list: '{}', rest: text }
  const from = at + LIST_BEGINS.length - 1
  LIST_ENDS.lastIndex = from
  const end = text.startsWith('{}', from) ? from + 2 : LIST_ENDS.exec(text) && LIST_ENDS.lastIndex
  if (!end) return { list: '{}', rest: text }
  return { list: text.slice(from, end), rest: `${text.slice(0, from)}{}${text.slice(end)}` }
}
