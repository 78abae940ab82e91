/** The last guard on what is written into NATS subjects: one bad character there would be another request. */
import { refuse } from '../../errors.ts'

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
const NOT_IN_A_NAME = /[\s\u0000-\u0020\u007f.*>/\\]/
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
const NOT_IN_A_SUBJECT = /[\s\u0000-\u0020\u007f]/

/** A stream's or consumer's name as it stands in an API subject. Throws `invalid_request`. */
export function checkedName(field: 'stream' | 'consumer', name: string): string {
  if (name === '' || NOT_IN_A_NAME.test(name)) throw refuse(field, 'is not a valid name')
  return name
}

/** A subject as it stands in the NATS protocol. Throws `invalid_request`. */
export function checkedSubject(field: string, subject: string): string {
  if (subject === '' || NOT_IN_A_SUBJECT.test(subject)) throw refuse(field, 'is not a valid subject')
  return subject
}
