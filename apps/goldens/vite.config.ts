import { pageBuild } from '../../scripts/page-build.js'

export default pageBuild('dist/page')
