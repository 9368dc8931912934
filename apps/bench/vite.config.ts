import { readFileSync } from 'node:fs'
import { pageBuild } from '../../scripts/page-build.js'

const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8')) as {
  version: string
}

// the page that measures in a browser
export default { ...pageBuild('dist/page'), define: { HEED_VERSION: JSON.stringify(version) } }
