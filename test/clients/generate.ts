/** Generating the clients: from the committed contract, offline, into a folder that git ignores. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { createClient } from '@hey-api/openapi-ts'
import openapiTs, { astToString } from 'openapi-typescript'
import { generate } from 'orval'
import { CACHE, ROOT } from '../../scripts/paths.ts'

/** Where the usage code imports them from. */
export const GENERATED = join(CACHE, 'clients')

const CONTRACT = join(ROOT, 'openapi', 'openapi.json')

/** Generates the clients anew; those of an earlier run are gone. */
export async function generateClients(): Promise<void> {
  mkdirSync(CACHE, { recursive: true })
  const folder = mkdtempSync(join(CACHE, 'clients-'))
  await generateTypes(join(folder, 'openapi-typescript.d.ts'))
  await createClient({
    input: CONTRACT,
    output: join(folder, 'hey-api'),
    plugins: ['@hey-api/client-fetch', '@hey-api/typescript', '@hey-api/sdk'],
    logs: { level: 'silent' },
  })
  // Its requests, and its checks of what is answered.
  for (const client of ['fetch', 'zod'] as const)
    await generate({
      input: { target: CONTRACT },
      output: { target: join(folder, 'orval', `${client}.ts`), client },
    })
  rmSync(GENERATED, { recursive: true, force: true })
  renameSync(folder, GENERATED)
}

/** A default is the server's: whoever asks may leave the field out. */
async function generateTypes(file: string): Promise<void> {
  const ast = await openapiTs(pathToFileURL(CONTRACT), { defaultNonNullable: false, silent: true })
  writeFileSync(file, astToString(ast))
}
