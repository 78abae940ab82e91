/** The version of this release, as it is told. */
import manifest from '../package.json' with { type: 'json' }

export const { version } = manifest
