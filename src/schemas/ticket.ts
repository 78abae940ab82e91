/** The wire form of tickets: what one may open, and what a browser page gets for it. */

import { cursorText } from './message.ts'
import { consumerName, MAX_FILTERS, streamName, subjectFilter } from './names.ts'
import { startText } from './read.ts'
import * as z from './zod.ts'

export const ticketRequestSchema = z
  .strictObject({
    stream: streamName,
    subjects: z
      .array(subjectFilter)
      .max(MAX_FILTERS)
      .default([])
      .openapi({ description: 'Subject filters; none: every message.' }),
    start: startText.optional(),
    cursor: cursorText.optional(),
    consumer: consumerName
      .optional()
      .openapi({ description: "Receive this durable consumer's messages instead." }),
  })
  .refine((ticket) => ticket.start === undefined || ticket.cursor === undefined, {
    message: 'must not be given together with start',
    path: ['cursor'],
  })
  .refine(
    (ticket) =>
      ticket.consumer === undefined || (!ticket.start && !ticket.cursor && ticket.subjects.length === 0),
    {
      message: 'must not be given together with subjects, start or cursor',
      path: ['consumer'],
    },
  )
  .openapi('TicketRequest', { description: 'What the ticket is to open.' })

export const ticketSchema = z
  .object({
    ticket: z.string().openapi({ description: 'The ticket itself, sealed.' }),
    url: z.url().openapi({ description: 'Ready for `new EventSource(url)`.' }),
    open_until: z.iso.datetime().openapi({ description: 'Until when it can be opened.' }),
    valid_until: z.iso
      .datetime()
      .openapi({ description: 'Until when it reconnects, with the `Last-Event-ID` it gave out.' }),
  })
  .openapi('Ticket', { description: 'Opens one stream with one filter, or one consumer, and nothing else.' })
