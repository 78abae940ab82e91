/** Reading Prometheus' text format 0.0.4 as its documentation has it, and strictly: what is not in it fails. */

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Family {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly samples: readonly Sample[]
}

/** The families of an exposition, and its samples by name and labels. */
export interface Exposition {
  readonly families: readonly Family[]
  /** The sum of the samples of this name which have these labels; 0 where there is none. */
  total(name: string, labels?: Readonly<Record<string, string>>): number
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const HELP = new RegExp(`^# HELP (${NAME}) ((?:[^\\\\\\n]|\\\\\\\\|\\\\n)*)$`)
const TYPE = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary|untyped)$`)
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\\\\\|\\\\"|\\\\n)*"'
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)\\})? (\\S+)$`)
const VALUE = /^(?:[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|NaN|[+-]Inf)$/
const SUFFIXES = { histogram: ['_bucket', '_sum', '_count'] } as const

/** Throws at the first line that is not as it should be. */
export function parseExposition(text: string): Exposition {
  if (!text.endsWith('\n')) throw new Error('The last line has no end')
  const families: (Family & { samples: Sample[] })[] = []
  const lines = text.slice(0, -1).split('\n')
  for (let at = 0; at < lines.length; ) {
    const [, name = '', help = ''] = HELP.exec(lines[at] ?? '') ?? []
    const [, typed = '', type = ''] = TYPE.exec(lines[at + 1] ?? '') ?? []
    if (name === '' || typed !== name) throw new Error(`No head of a family: ${lines[at]} / ${lines[at + 1]}`)
    if (families.some((family) => family.name === name)) throw new Error(`Twice: ${name}`)
    const samples: Sample[] = []
    at += 2
    for (; at < lines.length && !lines[at]?.startsWith('#'); at += 1)
      samples.push(parseSample(lines[at] ?? ''))
    families.push({ name, type, help, samples })
  }
  for (const family of families) checkFamily(family)
  return {
    families,
    total: (name, labels = {}) =>
      families
        .flatMap(({ samples }) => samples)
        .filter((sample) => sample.name === name)
        .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
        .reduce((sum, { value }) => sum + value, 0),
  }
}

function parseSample(line: string): Sample {
  const [, name, labelText = '', valueText = ''] = SAMPLE.exec(line) ?? []
  if (name === undefined || !VALUE.test(valueText)) throw new Error(`No sample: ${line}`)
  const labels = [...labelText.matchAll(new RegExp(LABEL, 'g'))].map(([label]) => {
    const [key = '', ...rest] = label.split('=')
    return [key, JSON.parse(rest.join('=')) as string] as const
  })
  if (new Set(labels.map(([key]) => key)).size < labels.length) throw new Error(`A label twice: ${line}`)
  const value = valueText.endsWith('Inf') ? Number(`${valueText}inity`) : Number(valueText)
  return { name, labels: Object.fromEntries(labels), value }
}

const seriesOf = ({ name, labels }: Sample) => JSON.stringify([name, Object.entries(labels).sort()])

function checkFamily({ name, type, samples }: Family): void {
  const names: readonly string[] =
    type === 'histogram' ? SUFFIXES.histogram.map((suffix) => name + suffix) : [name]
  const foreign = samples.find((sample) => !names.includes(sample.name))
  if (foreign) throw new Error(`${foreign.name} stands in the family ${name}`)
  if (new Set(samples.map(seriesOf)).size < samples.length) throw new Error(`A series twice in ${name}`)
  if (type === 'counter' && (!name.endsWith('_total') || samples.some(({ value }) => !(value >= 0))))
    throw new Error(`${name} is no counter`)
  if (type === 'histogram') checkHistogram(name, samples)
}

/** Buckets grow, in the order of their bounds, up to `+Inf`, which holds all. */
function checkHistogram(name: string, samples: readonly Sample[]): void {
  const withoutBound = ({ labels: { le: _, ...labels } }: Sample) => JSON.stringify(labels)
  for (const [series, of] of Map.groupBy(samples, withoutBound)) {
    const buckets = of.filter((sample) => sample.name === `${name}_bucket`)
    const bounds = buckets.map(({ labels }) => Number((labels.le ?? '').replace('Inf', 'Infinity')))
    const count = of.find((sample) => sample.name === `${name}_count`)?.value
    const grows = (values: readonly number[]) =>
      values.every((value, at) => !(value < (values[at - 1] ?? value)))
    const isWhole = bounds.at(-1) === Number.POSITIVE_INFINITY && buckets.at(-1)?.value === count
    if (
      !isWhole ||
      !grows(bounds) ||
      !grows(buckets.map(({ value }) => value)) ||
      of.length !== bounds.length + 2
    )
      throw new Error(`${name}${series} is no histogram`)
  }
}
