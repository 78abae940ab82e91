/** Where things lie: the repository's root, and the git-ignored folder for all that is fetched, built or logged. */
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository's root. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))

/** What is fetched, built and logged: safe to delete at any time while nothing runs. */
export const CACHE = join(ROOT, '.sluice')

/** One file per started server. */
export const LOGS = join(CACHE, 'logs')
