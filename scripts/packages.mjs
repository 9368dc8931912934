// The one place that says which packages exist, what they may import (the arrows of docs/architecture.md)
// and how they are built. `node scripts/packages.mjs` rewrites every package.json and tsconfig.json from it.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'

/** name → { description, imports (peer: tensor everywhere), extra dependencies, browser: runs without Node } */
export const packages = {
  tensor: { description: 'Lazy tensors, gradients, taps and the reference kernels', imports: [] },
  'backend-cpu': { description: 'WASM SIMD kernels for @heed/tensor', imports: ['tensor'], prebuild: 'node build-kernels.mjs' },
  conformance: { description: 'What every Heed backend must satisfy', imports: ['tensor'] },
  nn: { description: 'Modules, linear layers, norms, MLPs, recurrent layers', imports: ['tensor'] },
  attention: { description: 'Masks, positions, caches, attention layers and transformer blocks', imports: ['tensor', 'nn'] },
  tokenizer: { description: 'Byte-level BPE and WordPiece with exact UTF-16 offsets, and their training', imports: [] },
  weights: { description: 'Read and write safetensors, shards, checksums', imports: [] },
  models: {
    description: 'GPT-2 and BERT families: load, run, generate, save',
    imports: ['tensor', 'nn', 'attention', 'tokenizer', 'weights', 'backend-cpu'],
    optionalPeers: ['model-tiny'],
  },
  'model-tiny': { description: 'The small built-in language model of Heed', imports: [], files: ['data', 'README.md'] },
  train: { description: 'Losses, optimisers, schedules, the training loop and checkpoints', imports: ['tensor', 'nn', 'weights'] },
  interpret: { description: 'Interpretability methods over any run with taps', imports: ['tensor'] },
  viz: { description: 'Pictures of attention: SVG, terminal, one-file HTML report', imports: [] },
  heed: {
    description: 'The command line: explain, generate and see inside attention models',
    imports: ['tensor', 'nn', 'attention', 'tokenizer', 'weights', 'models', 'model-tiny', 'train', 'interpret', 'viz', 'backend-cpu'],
    bin: { heed: './dist/bin.js' },
    entries: ['src/index.ts', 'src/bin.ts'],
    node: true,
  },
}
export const apps = {
  goldens: {
    description: 'Runs the reference collections against Heed',
    imports: ['tensor', 'nn', 'attention', 'tokenizer', 'weights', 'models', 'train', 'interpret', 'backend-cpu', 'conformance'],
    node: true,
  },
}

const version = (dir) => (existsSync(`${dir}/package.json`) ? JSON.parse(readFileSync(`${dir}/package.json`, 'utf8')).version : undefined) ?? '0.1.0'
const write = (file, value) => writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`)
const scoped = (n) => (n === 'heed' ? 'heed' : `@heed/${n}`)

for (const [kind, table] of [['packages', packages], ['apps', apps]])
  for (const [name, p] of Object.entries(table)) {
    const dir = `${kind}/${name}`
    mkdirSync(`${dir}/src`, { recursive: true })
    if (!existsSync(`${dir}/src/index.ts`)) writeFileSync(`${dir}/src/index.ts`, 'export {}\n')
    const isApp = kind === 'apps'
    const workspace = (names) => Object.fromEntries(names.map((n) => [scoped(n), 'workspace:^']))
    // one copy of tensor on a page: a peer everywhere except where a program is installed whole
    const asPeer = !isApp && name !== 'heed' && p.imports.includes('tensor')
    const deps = { ...workspace(p.imports.filter((n) => !(asPeer && n === 'tensor'))), ...p.dependencies }
    const peers = { ...(asPeer ? workspace(['tensor']) : {}), ...workspace(p.optionalPeers ?? []) }
    const entries = p.entries ?? ['src/index.ts']
    const build = `${p.prebuild ? `${p.prebuild} && ` : ''}tsup ${entries.join(' ')} --format esm --target es2022 --clean --silent && tsc -p tsconfig.json`
    write(`${dir}/package.json`, {
      name: isApp ? `@heed-apps/${name}` : scoped(name),
      version: version(dir),
      ...(isApp ? { private: true } : {}),
      description: p.description,
      license: 'MIT',
      type: 'module',
      sideEffects: false,
      ...(isApp ? {} : { repository: { type: 'git', url: 'git+https://github.com/heed-js/heed.git', directory: dir }, files: ['dist', ...(p.files ?? []).filter((f) => f !== 'README.md')] }),
      engines: { node: '>=20.19' },
      ...(p.bin ? { bin: p.bin } : {}),
      exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' }, ...p.exports, './package.json': './package.json' },
      scripts: { build },
      ...(Object.keys(deps).length ? { dependencies: deps } : {}),
      ...(Object.keys(peers).length ? { peerDependencies: peers } : {}),
      ...(p.optionalPeers ? { peerDependenciesMeta: Object.fromEntries(p.optionalPeers.map((n) => [scoped(n), { optional: true }])) } : {}),
      ...(Object.keys(peers).length ? { devDependencies: workspace([...(asPeer ? ['tensor'] : []), ...(p.optionalPeers ?? [])]) } : {}),
    })
    write(`${dir}/tsconfig.json`, {
      extends: '../../tsconfig.base.json',
      compilerOptions: { noEmit: false, emitDeclarationOnly: true, outDir: 'dist', rootDir: 'src', ...(p.node || p.nodeTypes ? { types: ['node'] } : {}) },
      include: ['src'],
      exclude: ['src/**/*.test.ts'],
    })
  }
