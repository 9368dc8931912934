import { testBackend } from '@heed/conformance'
import { afterAll, describe, it } from 'vitest'
import { cpu } from './index.js'

testBackend(() => cpu(), { describe, it, afterAll })
