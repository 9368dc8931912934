#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8'
import { main } from './main.js'

// Node 20 has WebAssembly's fused multiply-add behind a flag of its engine. A library must not set one, this process may; what
// ran is in the first line of every explanation: cpu (relaxed …)
if (/^2[01]\./.test(process.versions.node)) setFlagsFromString('--experimental-wasm-relaxed-simd')

// a reader that closed the pipe early (head, less) has what it wanted
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})
process.exitCode = await main(process.argv.slice(2))
