// Every case, property and promise of the contract, on the WASM kernels that this Node validates.
import { testBackend } from '@heed/conformance'
import { afterAll, describe, it } from 'vitest'
import { cpu } from '../src/index.js'

testBackend(() => cpu(), { describe, it, afterAll })
