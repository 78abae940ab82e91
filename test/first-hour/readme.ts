/** The commands of README.md as they stand, and the output that it shows below each of them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../../scripts/paths.ts'

const ADDRESS = 'http://127.0.0.1:8787'

export interface Example {
  /** The line of README.md at which it begins. */
  readonly line: number
  readonly commands: string
  readonly shown: string
}

/** Blocks of commands that are followed by a block of their output. */
export function readExamples(): Example[] {
  const text = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const found = text.matchAll(/^```sh\n((?:(?!```).*\n)*)```\n\n```text\n((?:(?!```).*\n)*)```$/gm)
  return [...found].map(({ 1: commands = '', 2: shown = '', index }) => ({
    line: text.slice(0, index).split('\n').length,
    commands,
    shown,
  }))
}

/** What is printed between two blocks, so that their output can be told apart. */
const MARK = '--- end of a block ---'

/** All of them for one shell, which keeps the variables from block to block, against an instance at `url`. */
export function toScript(examples: readonly Example[], url: string): string {
  return examples
    .map(({ commands }) => `${commands.replaceAll(ADDRESS, url)}\necho; echo '${MARK}'\n`)
    .join('')
}

/** The output of each block. */
export function splitOutput(output: string): string[] {
  return output.split(`${MARK}\n`).slice(0, -1)
}

/** An output without what differs from run to run: tokens, times, ids and figures of the machine. */
export function withoutChance(output: string): string {
  return output
    .replaceAll(/\b[act][123]\.\w+\.[\w.-]+/g, 'TOKEN')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID')
    .replaceAll(/^(: ?|id: TOKEN)?\n/gm, '')
    .replaceAll(/\}\{/g, '}\n{')
    .trim()
}

/** The blocks of a section in their order; `kind`: the language that they say. */
export function readBlocks(heading: string, kind: string): string[] {
  const text = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const [, section = ''] = text.split(`\n## ${heading}\n`)
  const blocks = section
    .split('\n## ')[0]
    ?.matchAll(new RegExp(`^\`\`\`${kind}\\n((?:(?!\`\`\`).*\\n)*)\`\`\`$`, 'gm'))
  return [...(blocks ?? [])].map(([, block = '']) => block)
}
