// The contract of a backend on WebGL, in a page whose WebGL is rendered in software: every op case, in every layout.
import { testBackend } from '@heed/conformance'
import { afterAll, describe, it } from 'vitest'
import { webgl } from '../src/index.js'

// properties draw random shapes, each of which software rendering takes some milliseconds for: fewer of them than in Node
testBackend(() => webgl(), { describe, it, afterAll }, { runs: 6 })
