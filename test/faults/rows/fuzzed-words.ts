/** Words that are nearly what NATS understands: subjects, header names and values, drawn by seed. */

export interface Words {
  subject(): string
  /** For streams and consumers. */
  name(): string
  filter(): string
  headerName(): string
  headerValue(): string
  pick<Item>(items: readonly Item[]): Item
  chance(share: number): boolean
}

const NASTY: readonly string[] = [
  ...['\0', '\r\n', '\n', '\r', '\t', ' ', '\x0b', '\x0c', '\x1b', '\x7f', '\x85', '\xa0', '\xad'],
  ...['\u1680', '\u2003', '\u2028', '\u2029', '\u200b', '\u200e', '\u202e', '\u3000', '\ufeff', '\ufffd'],
  ...[
    '*',
    '>',
    '.',
    '..',
    '.*',
    '.>',
    '.*.',
    '$',
    '_',
    '/',
    '\\',
    '"',
    "'",
    ':',
    ';',
    ',',
    '?',
    '#',
    '&',
    '=',
    '+',
    '|',
  ],
  ...['%', '%0d%0a', '%00', '%20', '%2e', '%3e', '%2a', '%24', '%c0%ae', '%250a'],
  ...[
    '\u0430',
    '\uff1e',
    '\uff0e',
    '\uff04',
    '\u2024',
    '\u3002',
    '\u0130',
    'ß',
    'é',
    'e\u0301',
    '💥',
    '\ud800',
    '\udc00',
  ],
  ...['\r\nPUB evil 1\r\nx\r\n', ' _INBOX.evil 5', '\r\nNats-Rollup: all', '\r\n\r\n', 'NATS/1.0'],
]

const SUBJECTS: readonly string[] = [
  ...['fuzz.a', 'fuzz.b.c', 'fuzz', 'fuzz.a', 'fuzz.a.b.c.d', 'other.a', '.fuzz', 'fuzz.', 'fuzz..a', ''],
  ...['$JS.API.STREAM.DELETE.FUZZ', '$JS.API.STREAM.PURGE.FUZZ', '$JS.API.>', '$JS.API.INFO', '$js.api.info'],
  ...[
    '$JS.ACK.FUZZ.worker.1.1.1.1.0',
    '$JS.FC.x',
    '$JS.EVENT.ADVISORY.x',
    '$SYS.REQ.SERVER.PING',
    '$SRV.PING',
  ],
  ...[
    '$KV.bucket.key',
    '$O.bucket.C.x',
    '$MQTT.msgs.x',
    '$',
    '$x',
    '_INBOX',
    '_INBOX.x',
    '_INBOX.>',
    '_inbox.x',
    '_R_.x',
  ],
  ...[
    '\uff04JS.API.INFO',
    '$JS\uff0eAPI.INFO',
    '\u200b$JS.API.INFO',
    ' $JS.API.INFO',
    '>',
    '*',
    'fuzz.*',
    'fuzz.>',
    '*.a',
  ],
]

const NAMES: readonly string[] = [
  'FUZZ',
  'worker',
  'FUZZ2',
  'fuzz',
  'A-b_c',
  'x',
  '',
  '.',
  '*',
  '>',
  '$JS',
  '_INBOX',
  'é',
  'FUZZ.worker',
]

const HEADER_NAMES: readonly string[] = [
  ...[
    'Own',
    'X-Own',
    'a',
    'Status',
    'Description',
    'Reply-To',
    'reply',
    'Content-Type',
    'traceparent',
    'ce-id',
    'ce-type',
  ],
  ...[
    'Nats-Msg-Id',
    'nats-msg-id',
    'NATS-MSG-ID',
    'Nats-Rollup',
    'nats-rollup',
    'Nats-Reply-To',
    'Nats-Sequence',
  ],
  ...[
    'Nats-Stream',
    'Nats-Subject',
    'Nats-Time-Stamp',
    'Nats-Last-Sequence',
    'Nats-Marker-Reason',
    'Nats-Batch-Id',
  ],
  ...[
    'Nats-Batch-Commit',
    'Nats-TTL',
    'nAtS-tTl',
    'Nats-Expected-Stream',
    'Nats-Expected-Last-Sequence',
    'Nats-Incr',
  ],
  ...[
    'Nats-Schedule',
    'Nats-Schedule-Target',
    'Nats-Scheduler',
    'Nats-Required-Api-Level',
    'Nats-Service-Error',
    'Nats-',
  ],
  ...[
    'Nats_Rollup',
    'NatsH-Own',
    'NatsH-Nats-Rollup',
    'N\u0430ts-Rollup',
    '',
    ' ',
    ':',
    '__proto__',
    'constructor',
    'NATS/1.0',
  ],
]

const HEADER_VALUES: readonly string[] = [
  'v',
  '',
  ' ',
  'all',
  'sub',
  '1',
  '0',
  '-1',
  '1h',
  'never',
  'FUZZ',
  'a: b',
  '@every 1s',
]

const LONG = 5_000

/** Draws from `random`, numbers from 0 to below 1. */
export function createWords(random: () => number): Words {
  const below = (count: number) => Math.floor(random() * count)
  const pick = <Item>(items: readonly Item[]): Item => {
    const item = items[below(items.length)]
    if (item === undefined) throw new Error('There is nothing to pick from')
    return item
  }
  const chance = (share: number) => random() < share
  /** Half of them as they are, the others with something in them that does not belong there. */
  const spoiled = (text: string): string => {
    if (chance(0.5)) return text
    if (chance(0.02)) return text + 'x'.repeat(LONG)
    let made = text
    for (let times = 1 + below(2); times > 0; times -= 1) {
      const at = below(made.length + 1)
      made =
        made.slice(0, at) + (chance(0.1) ? String.fromCharCode(below(0x300)) : pick(NASTY)) + made.slice(at)
    }
    return made
  }
  return {
    pick,
    chance,
    subject: () => spoiled(chance(0.5) ? 'fuzz.a' : pick(SUBJECTS)),
    name: () => spoiled(pick(NAMES)),
    filter: () => spoiled(pick(SUBJECTS)),
    headerName: () => spoiled(chance(0.5) ? 'Own' : pick(HEADER_NAMES)),
    headerValue: () => spoiled(pick(HEADER_VALUES)),
  }
}
