/** Times in JSON bodies: RFC 3339, checked against the calendar, so that none reaches JetStream that it would take otherwise. */
import { isJetStreamTime, isTime } from './time.ts'
import * as z from './zod.ts'

/** With nanoseconds and an offset, and room for digits that nobody needs. */
const MAX_TIME_CHARS = 64
const NO_TIME = 'must be an RFC 3339 time with a zone, such as 2026-11-20T10:00:00Z'

const time = (isGood: (text: string) => boolean, message: string) =>
  z
    .string()
    .max(MAX_TIME_CHARS, { abort: true, error: message })
    .refine(isGood, message)
    .openapi({ type: 'string', format: 'date-time' })

/** Any time of the calendar. */
export const anyTime = time((text) => isTime(text), NO_TIME)

/** A time that JetStream can count in nanoseconds. */
export const jetStreamTime = time(isJetStreamTime, `${NO_TIME}, from 1678 to 2261`)
